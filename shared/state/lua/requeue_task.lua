-- Decide, once for each message that QStash gave up on, what becomes of its task: nothing (ended, or moved on),
-- a new message, or the end. Called again for the same message, it answers the same until the new one is published.
-- uses: lib_task
--
-- KEYS  as lib_task says
-- ARGV  1 JSON: messageId, step, refused (the lane answered 489), leaseMs, slots (limit), unpublishedMs,
--         ttl {maxlen, streamMs, taskMs}
-- returns JSON: {status: ended | publish | published | failed, n, delaySeconds, slots, code}

local q = cjson.decode(ARGV[1])
local now = now_ms()
local mark = 'requeued:' .. q.messageId
local record = read_record(mark, 'requeues', unpack(END_FIELDS))
if not record.state or ENDED[record.state] or tonumber(record.step) ~= q.step then
  return cjson.encode({status = 'ended'})
end

local lease = 0
if record.state == 'running' then lease = tonumber(redis.call('ZSCORE', KEYS[7], record.holder) or 0) end
local alive = lease > now
local delay = math.min(60, 2 ^ tonumber(record.requeues)) -- seconds: 1, 2, 4 … 60
-- Who is first comes back first: once it is known how fast the queue drains, a task waits for those before it only.
local queue_id = step_of(record).queueId
local control = read_controls(now)
local slots = slots_in_force(control, q.slots)
local turn = eta_seconds(queue_id, turns_before(record.taskId, q.step, queue_id, slots))
if turn then delay = math.min(delay, math.max(1, turn)) end
local stop = control('stopped', queue_id) -- its lane would only refuse it
if stop then delay = math.max(delay, ask_again_after(stop, now, 30, 30)) end
if alive then delay = math.max(delay, math.ceil(q.leaseMs / 1000)) end

local function publish(n)
  return cjson.encode({status = 'publish', n = n, delaySeconds = delay, slots = slots})
end

if record[mark] then
  if record[mark] == record.n and record.published == '0' then
    return publish(tonumber(record.n))
  end
  return cjson.encode({status = 'published'})
end

local function fail(code, message)
  end_failed(record, now, code, message, q.ttl)
  tally(now, 'requeue', 'failed', queue_id)
  return cjson.encode({status = 'failed', code = code})
end

local waits = record.state == 'queued'
if not alive then
  if not waits then attempt_died(record, lease, now) end
  if q.refused then return fail('message_refused', 'The task could not be taken by its queue; nothing was charged.') end
  if tonumber(record.attempt) > tonumber(record.retries) then
    return fail('attempts_exhausted', 'Every attempt was lost; nothing was charged.')
  end
  if waited_ms(record, now) > step_of(record).maxWaitMs then
    return fail('wait_timeout', 'The task waited too long for its turn; nothing was charged.')
  end
end
local n = tonumber(record.n) + 1
redis.call('HSET', KEYS[1], mark, int(n), 'n', int(n), 'published', '0', 'requeues', int(tonumber(record.requeues) + 1))
-- Whoever was to publish it may die first: then the next touch does, and not only when the waiting budget is over.
if waits then set_deadline(record.taskId, now + delay * 1000 + q.unpublishedMs) end
tally(now, 'requeue', 'publish', queue_id)
return publish(n)
