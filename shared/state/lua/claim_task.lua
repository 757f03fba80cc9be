-- Claim a task's step for one delivery: a slot, a new attempt and its epoch, the `start` event.
-- Sent twice by one delivery (`nonce`), the second answers as the first did.
-- uses: lib_task
--
-- KEYS  as lib_task says
-- ARGV  1 JSON: taskId, serviceId, userId, templateId, queueId, modelId, tier, step (what the message says), nonce,
--         leaseMs, slots (limit), runMs (longest run of an attempt), graceMs, ttl {maxlen, streamMs, taskMs}
-- returns JSON: {status: claimed | duplicate | unknown | mismatch | busy | lane_stopped | no_slot | wait_timeout | exhausted, …}

local q = cjson.decode(ARGV[1])
local now = now_ms()
local record = read_record('userId', 'serviceId', 'input', 'nonce', 'locale', unpack(END_FIELDS))

local function refused(answer)
  tally(now, 'claim_refused', answer.status, q.queueId)
  return cjson.encode(answer)
end

if not record.state then return refused({status = 'unknown'}) end

local step = tonumber(record.step)
local at = cjson.decode(record.steps)[q.step + 1]
if not at or q.step > step or record.userId ~= q.userId or record.serviceId ~= q.serviceId or record.tier ~= q.tier
  or at.templateId ~= q.templateId or at.queueId ~= q.queueId or at.modelId ~= q.modelId then
  return refused({status = 'mismatch'})
end
if ENDED[record.state] or q.step < step then return refused({status = 'duplicate'}) end

local took_over = false -- the attempt before died with its lease
local function claimed()
  return cjson.encode({status = 'claimed', epoch = record.epoch, attempt = tonumber(record.attempt),
    holder = record.holder, input = record.input, locale = record.locale, createdAt = tonumber(record.createdAt),
    isLast = step + 1 == #cjson.decode(record.steps), waitedMs = tonumber(record.waitedMs), tookOver = took_over})
end

-- Holders whose lease has lapsed: they count no more, and go where one of them is in the way or has been taken over.
local clean = false
local function drop_lapsed()
  if clean then redis.call('ZREMRANGEBYSCORE', KEYS[7], '-inf', int(now)) end
end

if record.state == 'running' then
  local lease = tonumber(redis.call('ZSCORE', KEYS[7], record.holder) or 0)
  if lease > now then
    if record.nonce == q.nonce then return claimed() end
    return refused({status = 'busy', retryAfter = math.ceil((lease - now) / 1000)})
  end
  attempt_died(record, lease, now)
  if tonumber(record.attempt) > tonumber(record.retries) then
    end_failed(record, now, 'attempts_exhausted', 'Every attempt was lost; nothing was charged.', q.ttl)
    tally(now, 'takeover', 'exhausted', q.queueId)
    return cjson.encode({status = 'exhausted'})
  end
  redis.call('HSET', KEYS[1], 'state', 'queued', 'holder', '', 'epoch', '', 'waitingSince', record.waitingSince)
  took_over, clean = true, true
  tally(now, 'takeover', 'again', q.queueId)
elseif record.nonce == q.nonce then
  -- A second copy of a claim whose attempt is over already: nobody would run what it claimed.
  return refused({status = 'busy', retryAfter = 1})
end

local waited = waited_ms(record, now)
if waited > at.maxWaitMs then
  end_failed(record, now, 'wait_timeout', 'The task waited too long for its turn; nothing was charged.', q.ttl)
  return cjson.encode({status = 'wait_timeout'})
end

-- No attempt begins: the delivery comes again, and is none of the task's attempts.
local function hold_up(reason, after)
  if record.published == '0' and record.n == '1' then -- its producer could not say so, but here is the message
    redis.call('HSET', KEYS[1], 'published', '1')
    set_deadline(q.taskId, tonumber(record.waitingSince) + at.maxWaitMs - tonumber(record.waitedMs) + q.graceMs)
  end
  add_event(now, {type = 'backpressure', taskId = q.taskId, attempt = tonumber(record.attempt), at = now,
    reason = reason, retryAfter = after}, q.ttl.maxlen)
  drop_lapsed()
  return refused({status = reason, retryAfter = after})
end

local control = read_controls(now)
local stop = control('stopped', q.queueId)
if stop then return hold_up('lane_stopped', ask_again_after(stop, now, 30, 30)) end

-- Only a set that looks full is looked into: who is in it may be dead.
local slots = slots_in_force(control, q.slots)
if redis.call('ZCARD', KEYS[7]) >= slots then
  if redis.call('ZCOUNT', KEYS[7], '(' .. int(now), '+inf') >= slots then
    return hold_up('no_slot', math.min(30, retry_after(q.queueId, turns_before(q.taskId, step, q.queueId, slots))))
  end
  clean = true
end

-- Redis refuses a script for full memory only at its first write, if that one needs memory: so nothing is removed before.
-- An attempt that could not store its events is not to begin.
record.attempt = int(tonumber(record.attempt) + 1)
record.epoch = int(add_event(now, {type = 'start', taskId = q.taskId, attempt = tonumber(record.attempt), at = now,
  step = step, templateId = at.templateId, queueId = at.queueId}, q.ttl.maxlen))
record.holder = q.taskId .. ':' .. int(step) .. ':' .. record.epoch
record.waitedMs = int(waited)
redis.call('ZADD', KEYS[7], int(now + q.leaseMs), record.holder)
drop_lapsed()
redis.call('HSET', KEYS[1], 'state', 'running', 'attempt', record.attempt, 'epoch', record.epoch,
  'holder', record.holder, 'nonce', q.nonce, 'waitedMs', record.waitedMs, 'waitingSince', int(now), 'startedAt', int(now))
set_deadline(q.taskId, now + q.runMs + at.maxWaitMs - waited + q.graceMs)
return claimed()
