-- Compare one task's record with its places, its indexes, its stream and its money; repair what can be repaired, if asked.
-- Sent twice, the second finds what the first left. A task that is gone by now is no difference.
-- uses: lib_task
--
-- KEYS  as lib_task says; only 1–6 and the queues are used
-- ARGV  1 JSON: repair (whether to), reference (what coins are taken back under), runMs (longest run of an attempt),
--         graceMs, unpublishedMs, lateMs (overdue for longer, nobody sweeps)
-- returns JSON: a list of {kind: record | place | open | active | overdue | stream | debit | refund, what, repaired}

local q = cjson.decode(ARGV[1])
local now = now_ms()
local record = read_record('createdAt', unpack(END_FIELDS))
local found = {}

-- Notes a difference. `mend` repairs it, and returns false where it could not.
local function differs(kind, what, mend)
  found[#found + 1] = {kind = kind, what = what, repaired = q.repair and mend ~= nil and mend() ~= false}
end

local function known_queue(step)
  for i = 13, #KEYS do
    if KEYS[i] == 'queue:' .. tostring(step.queueId) then return true end
  end
  return false
end

local function has_numbers()
  for _, name in ipairs({'step', 'cost', 'createdAt', 'waitedMs', 'waitingSince'}) do
    if not tonumber(record[name]) then return false end
  end
  return true
end

-- The steps of a record that makes sense, or nil.
local function steps_of_record()
  local ok, steps = pcall(cjson.decode, record.steps)
  if not ok or type(steps) ~= 'table' or not record.taskId or not has_numbers() then return nil end
  if not steps[tonumber(record.step) + 1] then return nil end
  for _, at in ipairs(steps) do
    if not known_queue(at) or not tonumber(at.maxWaitMs) then return nil end
  end
  local running = record.state == 'running'
  if not (running or record.state == 'queued' or ENDED[record.state]) then return nil end
  if running == (record.holder == '') then return nil end
  return steps
end

local function check_places(steps)
  for i = tonumber(record.step) + 1, #steps do
    local key, member = queue_key(steps[i].queueId), record.taskId .. ':' .. int(i - 1)
    if not redis.call('ZSCORE', key, member) then
      differs('place', 'has no place in ' .. key .. ' for its step ' .. int(i - 1), function()
        redis.call('ZADD', key, 'NX', record.createdAt, member)
      end)
    end
  end
end

-- When the task is overdue, as the transition that led to its state has it.
local function due(at)
  local rest = at.maxWaitMs - tonumber(record.waitedMs)
  if record.state == 'running' then return tonumber(record.waitingSince) + q.runMs + rest + q.graceMs end
  if record.published == '1' then return tonumber(record.waitingSince) + rest + q.graceMs end
  return now + q.unpublishedMs
end

local function check_indexes(steps)
  local deadline = redis.call('ZSCORE', KEYS[3], record.taskId)
  if not deadline then
    differs('open', 'is open, but not in the list of open tasks', function()
      set_deadline(record.taskId, due(steps[tonumber(record.step) + 1]))
    end)
  elseif tonumber(deadline) + q.lateMs < now then
    differs('overdue', 'is open, and has been overdue for more than two sweeps')
  end
  if redis.call('SISMEMBER', KEYS[4], record.taskId) == 0 then
    differs('active', 'is open, but not among the open tasks of its user', function()
      redis.call('SADD', KEYS[4], record.taskId)
    end)
  end
  if redis.call('EXISTS', KEYS[2]) == 0 then differs('stream', 'is open, but its events are gone') end
end

-- How many debits the ledger has for this task and of how much; how much was refunded, and taken back again.
local function of_ledger()
  local sum = {debits = 0, debited = 0, refunds = 0, refunded = 0}
  for _, text in ipairs(redis.call('LRANGE', KEYS[6], 0, -1)) do
    local ok, line = false, nil
    if string.find(text, record.taskId, 1, true) then ok, line = pcall(cjson.decode, text) end
    if not ok or type(line) ~= 'table' or not tonumber(line.delta) then -- another task's, or no line: check_account tells
    elseif line.kind == 'grant' and line.reference == q.reference then
      sum.refunded = sum.refunded + line.delta
    elseif line.taskId == record.taskId and line.kind == 'debit' then
      sum.debits, sum.debited = sum.debits + 1, sum.debited - line.delta
    elseif line.taskId == record.taskId and line.kind == 'refund' then
      sum.refunds, sum.refunded = sum.refunds + 1, sum.refunded + line.delta
    end
  end
  return sum
end

-- Takes coins back that were paid too often, unless the user has spent them.
local function take_back(coins)
  if tonumber(redis.call('HGET', KEYS[5], 'balance') or 0) < coins then return false end
  local balance = redis.call('HINCRBY', KEYS[5], 'balance', int(-coins))
  redis.call('RPUSH', KEYS[6], cjson.encode({
    at = now, kind = 'grant', delta = -coins, balance = balance, reference = q.reference}))
end

local function check_money()
  local cost, sum = tonumber(record.cost), of_ledger()
  local owed = ENDED[record.state] and record.state ~= 'done' and cost or 0
  local flag = int(owed > 0 and 1 or 0)
  if sum.debits ~= (cost > 0 and 1 or 0) or sum.debited ~= cost then
    differs('debit', string.format('cost %d, but was debited %d in %d lines', cost, sum.debited, sum.debits))
  end
  if sum.refunded > owed then
    differs('refund', string.format('is %s, and was refunded %d instead of %d', record.state, sum.refunded, owed),
      function()
        if take_back(sum.refunded - owed) == false then return false end
        redis.call('HSET', KEYS[1], 'refunded', flag)
      end)
  elseif sum.refunded < owed then
    differs('refund', string.format('is %s, and was refunded %d instead of %d', record.state, sum.refunded, owed),
      function()
        if sum.debits ~= 1 or sum.debited ~= owed or sum.refunds > 0 or sum.refunded ~= 0 then return false end
        record.refunded = '0'
        refund(record, now)
        redis.call('HSET', KEYS[1], 'refunded', flag)
      end)
  elseif record.refunded ~= flag then
    differs('refund', 'was refunded ' .. int(owed) .. ', which its record does not say', function()
      redis.call('HSET', KEYS[1], 'refunded', flag)
    end)
  end
end

if redis.call('EXISTS', KEYS[1]) == 0 then return '[]' end
local steps = steps_of_record()
if not steps then
  differs('record', 'has a record that makes no sense')
  return cjson.encode(found)
end
if not ENDED[record.state] then
  check_places(steps)
  check_indexes(steps)
end
check_money()
return cjson.encode(found)
