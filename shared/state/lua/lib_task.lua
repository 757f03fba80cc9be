-- What the transitions share. Not a script of its own: the loader prepends it where a script says `uses: lib_task`.
--
-- KEYS of every transition (keys.of_transition):
--   1 task:{id}   2 cs:events:{…}   3 tasks:open   4 user:{id}:active   5 quota:{…}   6 ledger:{…}
--   7 lock:model:{model}:{tier}     8 queue:rates  9 idem:{…}          10 where the result is stored
--   11 the user's services         12 user:{id}:keys               13 journal          14 tallies
--   15… queue:{queueId}, all lanes
--   and for admit_task alone, after these: promised:{queueId}, all lanes
-- All times are ms of Redis's own clock: no worker's clock decides anything.

local ENDED = {done = true, failed = true, cancelled = true}

local function int(number)
  return string.format('%.0f', number) -- Lua writes a large number as 1.7e+12 otherwise
end

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function read_record(...)
  local names = {...}
  local values = redis.call('HMGET', KEYS[1], unpack(names))
  local record = {}
  for i, name in ipairs(names) do record[name] = values[i] or nil end
  return record
end

local function queue_key(queue_id)
  for i = 15, #KEYS do
    if KEYS[i] == 'queue:' .. queue_id then return KEYS[i] end
  end
  error('no such queue')
end

-- The first id above every id in the stream, ms.
local function next_id(now)
  local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
  local ms = #last > 0 and tonumber(string.match(last[1][1], '^%d+')) or 0
  return math.max(now, ms + 1)
end

-- Stores an event above every id in the stream, so that it fences whoever wrote before; returns its id, ms. That is the
-- present but in two cases, which Redis itself tells apart: another event of this very ms, and a clock that went back.
local function add_event(now, event, maxlen)
  local json = type(event) == 'string' and event or cjson.encode(event)
  local stored = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', maxlen, int(now) .. '-0', 'e', json)
  if type(stored) == 'table' and stored.err then
    now = next_id(now)
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', maxlen, int(now) .. '-0', 'e', json)
  end
  return now
end

-- Sets when a task that nobody touches any more is overdue.
local function set_deadline(task_id, deadline)
  redis.call('ZADD', KEYS[3], int(deadline), task_id)
end

-- The mean interval between two ends in a queue, ms, as it is before this script notes one; nil while nothing has been
-- measured.
local intervals = {}
local function interval_ms(queue_id)
  if intervals[queue_id] == nil then
    intervals[queue_id] = tonumber(redis.call('HGET', KEYS[8], queue_id .. ':ms') or nil) or false
  end
  return intervals[queue_id] or nil
end

-- The mean interval between two ends in a queue, exponentially weighted, measured only while it has tasks. The interval of
-- the queue that its task goes on to, if it does, is asked for in the same breath.
local function note_end(queue_id, now, following_id)
  local names = {queue_id .. ':at', queue_id .. ':ms', following_id and following_id .. ':ms'}
  local at, ms, following = unpack(redis.call('HMGET', KEYS[8], unpack(names)))
  if following_id then intervals[following_id] = tonumber(following or nil) or false end
  if at then
    local interval = math.max(0, now - tonumber(at))
    ms = ms and (0.8 * tonumber(ms) + 0.2 * interval) or interval
    redis.call('HSET', KEYS[8], queue_id .. ':at', int(now), queue_id .. ':ms', string.format('%.3f', ms))
  end
end

-- Seconds until `count` steps have ended in a queue, at its measured rate; nil while nothing has been measured.
local function eta_seconds(queue_id, count)
  local ms = interval_ms(queue_id)
  return ms and math.ceil(count * ms / 1000) or nil
end

local function retry_after(queue_id, count)
  return math.min(300, math.max(1, eta_seconds(queue_id, count) or 5))
end

-- What an operator has set over the configured limits (controls.py), and still holds: what it is by kind and name.
local function controls_in(text, now)
  local all = text and cjson.decode(text) or {}
  return function(kind, name)
    local control = all[kind] and all[kind][name]
    if control and (not control.untilMs or control.untilMs > now) then return control end
  end
end

local function read_controls(now)
  return controls_in(redis.call('HGET', KEYS[8], 'controls'), now)
end

-- The slots of the model and tier of KEYS[7].
local function slots_in_force(control, configured)
  local set = control('slots', string.match(KEYS[7], '^lock:model:(.*)$'))
  return set and set.value or configured
end

-- Seconds after which to ask again whether a control has ended; `unknown` when that is up to an operator.
local function ask_again_after(control, now, most, unknown)
  if not control.untilMs then return unknown end
  return math.min(most, math.max(1, math.ceil((control.untilMs - now) / 1000)))
end

-- How many steps of its queue must end before a waiting step's turn: those before it, less what runs at once.
local function turns_before(task_id, step, queue_id, slots)
  local rank = redis.call('ZRANK', queue_key(queue_id), task_id .. ':' .. int(step)) or 0
  return math.max(1, rank + 1 - slots)
end

-- Counts what does not go the straight way (tallies.py). It stands in nothing's way: a Redis that is full counts no more.
local function tally(now, kind, label, lane)
  redis.pcall('HINCRBY', KEYS[14], table.concat({kind, label, lane, int(math.floor(now / 60000))}, '|'), 1)
end

local function give_back_place(task_id, step, queue_id)
  redis.call('ZREM', queue_key(queue_id), task_id .. ':' .. int(step))
end

-- Forgets which task an idempotency key led to, unless it has led to another since.
local function free_idempotency_key(task_id)
  local known = redis.call('GET', KEYS[9])
  if known and cjson.decode(known).taskId == task_id then redis.call('DEL', KEYS[9]) end
end

local function refund(record, now)
  local cost = tonumber(record.cost)
  if cost == 0 or record.refunded == '1' then return false end
  local balance = redis.call('HINCRBY', KEYS[5], 'balance', int(cost))
  redis.call('RPUSH', KEYS[6], cjson.encode({
    at = now, kind = 'refund', delta = cost, balance = balance, taskId = record.taskId, action = record.action}))
  return true
end

local END_FIELDS = {'taskId', 'action', 'tier', 'cost', 'refunded', 'steps', 'step', 'attempt', 'state', 'epoch', 'holder',
  'waitedMs', 'waitingSince', 'retries', 'n', 'published', 'createdAt', 'startedAt', 'spent'}

local function waited_ms(record, now)
  return tonumber(record.waitedMs) + math.max(0, now - tonumber(record.waitingSince))
end

local function step_of(record)
  return cjson.decode(record.steps)[tonumber(record.step) + 1]
end

-- A running attempt whose lease has lapsed: since then the task has been waiting, whatever its record still says.
local function attempt_died(record, lease, now)
  record.state, record.waitingSince = 'queued', int(lease > 0 and lease or now)
end

-- What the attempts of a step have used together: those that were given back, and what this one says of itself (a usage
-- record, or null). Money is whole millionths from here on, so that sums are exact.
local function spent_with(record, usage)
  local spent = (record.spent or '') ~= '' and cjson.decode(record.spent)
    or {['in'] = 0, out = 0, cached = 0, costMicros = 0, currency = ''}
  if usage then
    spent['in'] = spent['in'] + (usage.promptTokens or 0)
    spent.out = spent.out + (usage.completionTokens or 0)
    spent.cached = spent.cached + (usage.cachedTokens or 0)
    spent.costMicros = spent.costMicros + math.floor((usage.cost or 0) * 1000000 + 0.5)
    spent.currency = usage.currency or spent.currency
  end
  return spent
end

local JOURNAL_LENGTH = 100000 -- entries, roughly: what is kept at most when nobody folds

-- The step's one entry in the journal (journal.py). Its user is a hash: an entry may outlive the user.
local function note_step_end(record, now, end_, usage)
  local step, entry, ran = step_of(record), spent_with(record, usage), record.state == 'running'
  entry.at, entry.taskId, entry.user = now, record.taskId, string.match(KEYS[5], '[^:]+$')
  entry.tier, entry.action, entry.step = record.tier, record.action, tonumber(record.step)
  entry.lane, entry.template, entry.model = step.queueId, step.templateId, step.modelId
  entry.state, entry.last, entry.code, entry.refunded = end_.state, end_.last, end_.code, end_.refunded
  entry.attempts = tonumber(record.attempt)
  entry.waitedMs = ran and tonumber(record.waitedMs) or waited_ms(record, now)
  entry.runMs = ran and math.max(0, now - tonumber(record.startedAt or now)) or 0
  entry.ttftMs = usage and usage.ttftMs
  entry.latencyMs = math.max(0, now - tonumber(record.createdAt))
  redis.call('XADD', KEYS[13], 'MAXLEN', '~', JOURNAL_LENGTH, '*', 'e', cjson.encode(entry))
end

-- The one end of a task: refund, places, index, state, terminal event, all or nothing. The caller has checked that
-- the task is open. `event` is a table (`refunded` and `at` are filled in) or the ready JSON of a `done`.
-- `fields` are what else the record keeps, `usage` what its last attempt used, as far as that is known. A slot is not touched: only its holder gives it back; what is removed with a
-- task that failed are leases that have lapsed and count no more, so that nothing stays of a worker that was killed.
local function end_task(record, state, now, event, fields, ttl, usage)
  local refunded = state ~= 'done' and refund(record, now)
  local steps = cjson.decode(record.steps)
  for i = tonumber(record.step) + 1, #steps do
    give_back_place(record.taskId, i - 1, steps[i].queueId)
  end
  note_end(steps[tonumber(record.step) + 1].queueId, now)
  redis.call('ZREM', KEYS[3], record.taskId)
  redis.call('SREM', KEYS[4], record.taskId)
  if state == 'failed' then redis.call('ZREMRANGEBYSCORE', KEYS[7], '-inf', int(now)) end
  redis.call('HSET', KEYS[1], 'state', state, 'finishedAt', int(now), 'refunded', refunded and '1' or '0',
    'holder', '', 'input', '', unpack(fields)) -- the input is a user's text, which nobody will ask for again
  if type(event) == 'table' then
    event.taskId, event.attempt, event.at, event.refunded = record.taskId, tonumber(record.attempt), now, refunded
  end
  add_event(now, event, ttl.maxlen)
  redis.call('PEXPIRE', KEYS[2], int(ttl.streamMs))
  redis.call('PEXPIRE', KEYS[1], int(ttl.taskMs))
  note_step_end(record, now, {state = state, last = true, code = type(event) == 'table' and event.code or '',
    refunded = refunded and tonumber(record.cost) or 0}, usage)
end

local function end_failed(record, now, code, message, ttl, usage)
  end_task(record, 'failed', now, {type = 'error', code = code, message = message},
    {'errorCode', code, 'errorMessage', message}, ttl, usage)
end

-- What a caller left out, or gave as null.
local function given(value)
  return value ~= cjson.null and value or nil
end
