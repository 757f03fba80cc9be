-- Compare one member of a queue, of an index of open tasks or of a model's slots with the record of its task; take it
-- out, if asked, when the record says that it does not belong there. A slot is never taken from anybody: its lease lapses.
-- uses: lib_task
--
-- KEYS  1 task:{taskId}  2 queue:{queueId}, tasks:open, user:{id}:active or lock:model:{model}:{tier}
-- ARGV  1 JSON: kind (place | open | active | slot), member, repair (whether to)
-- returns JSON: {status: right | wrong | ending | lapsed | gone, why}

local q = cjson.decode(ARGV[1])
local record = read_record('userId', 'state', 'step', 'steps', 'holder')

local function score()
  if q.kind == 'active' then return redis.call('SISMEMBER', KEYS[2], q.member) == 1 end
  return redis.call('ZSCORE', KEYS[2], q.member)
end

local function remove()
  if q.kind == 'active' then
    redis.call('SREM', KEYS[2], q.member)
  else
    redis.call('ZREM', KEYS[2], q.member)
  end
end

local function why_no_place()
  local step, ok, steps = tonumber(string.match(q.member, ':(%d+)$')), pcall(cjson.decode, record.steps)
  local at = ok and type(steps) == 'table' and step and steps[step + 1]
  if not at or KEYS[2] ~= 'queue:' .. tostring(at.queueId) then return 'has no such step in this queue' end
  if step < tonumber(record.step) then return 'is past that step' end
end

local function why()
  if not record.state then return 'has no record' end
  if ENDED[record.state] then return 'is ' .. record.state end
  if q.kind == 'place' then return why_no_place() end
  if q.kind == 'active' and KEYS[2] ~= 'user:' .. tostring(record.userId) .. ':active' then
    return 'belongs to another user'
  end
end

local there = score()
if not there then return cjson.encode({status = 'gone'}) end
if q.kind == 'slot' then
  if tonumber(there) <= now_ms() then return cjson.encode({status = 'lapsed'}) end
  if record.state == 'running' and record.holder == q.member then return cjson.encode({status = 'right'}) end
  return cjson.encode({status = 'ending'})
end
local reason = why()
if not reason then return cjson.encode({status = 'right'}) end
if q.repair then remove() end
return cjson.encode({status = 'wrong', why = reason})
