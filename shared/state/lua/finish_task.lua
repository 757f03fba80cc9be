-- Finish an attempt that succeeded: the result where it is read, then the end of the task, or its next step.
-- Sent twice, the second answers as the first did and changes nothing.
-- uses: lib_task
--
-- KEYS  as lib_task says; 10 the hash that keeps the result
-- ARGV  1 JSON: epoch, holder, event (ready JSON of `done` or `step_result`), result (JSON text), usage
--         (JSON text), keep (flat list of fields for KEYS[10], may be empty), keepField (the field whose age decides),
--         keepMs (how long KEYS[10] is kept from now on), unpublishedMs, ttl {maxlen, streamMs, taskMs}
-- returns done | step_done | superseded

local q = cjson.decode(ARGV[1])
local record = read_record('finishedEpoch', unpack(END_FIELDS))
redis.call('ZREM', KEYS[7], q.holder)
if record.finishedEpoch == q.epoch then return record.state == 'done' and 'done' or 'step_done' end
if record.state ~= 'running' or record.epoch ~= q.epoch then return 'superseded' end
local now = now_ms()

-- An older task that finishes late never replaces what a newer one stored.
if #q.keep > 0 then
  local newest = redis.call('HGET', KEYS[10], q.keepField .. 'At')
  if not newest or tonumber(newest) <= tonumber(record.createdAt) then
    redis.call('HSET', KEYS[10], q.keepField .. 'At', record.createdAt, unpack(q.keep))
    redis.call('PEXPIRE', KEYS[10], int(q.keepMs))
  end
end

local step, steps, usage = tonumber(record.step), cjson.decode(record.steps), cjson.decode(q.usage)
if step + 1 == #steps then
  end_task(record, 'done', now, q.event, {'result', q.result, 'usage', q.usage, 'finishedEpoch', q.epoch}, q.ttl, usage)
  return 'done'
end

local following = steps[step + 2]
give_back_place(record.taskId, step, steps[step + 1].queueId)
note_end(steps[step + 1].queueId, now, following.queueId)
redis.call('HSET', KEYS[1], 'state', 'queued', 'step', int(step + 1), 'attempt', '0', 'epoch', '', 'holder', '',
  'n', '0', 'published', '0', 'requeues', '0', 'waitedMs', '0', 'waitingSince', int(now), 'spent', '',
  'finishedEpoch', q.epoch, 'result:' .. int(step), q.result, 'usage:' .. int(step), q.usage)
set_deadline(record.taskId, now + q.unpublishedMs)
local told = add_event(now, q.event, q.ttl.maxlen)
local position = redis.call('ZRANK', queue_key(following.queueId), record.taskId .. ':' .. int(step + 1)) or 0
add_event(told + 1, {type = 'queued', taskId = record.taskId, attempt = 0, at = now, step = step + 1,
  queueId = following.queueId, position = position,
  etaSeconds = eta_seconds(following.queueId, position + 1) or cjson.null}, q.ttl.maxlen)
note_step_end(record, now, {state = 'done', last = false, code = '', refunded = 0}, usage)
return 'step_done'
