-- Give an attempt back that failed but may be repeated: its slot, never the task's place. The last one ends the task.
-- Sent twice, the second answers as the first did.
-- uses: lib_task
--
-- KEYS  as lib_task says
-- ARGV  1 JSON: epoch, holder, code, message, retryAfter (s), usage (what the attempt used, or null), graceMs, ttl {maxlen,
--         streamMs, taskMs}
-- returns released | exhausted | superseded

local q = cjson.decode(ARGV[1])
local record = read_record('releasedEpoch', unpack(END_FIELDS))
redis.call('ZREM', KEYS[7], q.holder)
if record.releasedEpoch == q.epoch then return record.state == 'failed' and 'exhausted' or 'released' end
if record.state ~= 'running' or record.epoch ~= q.epoch then return 'superseded' end
local now = now_ms()
redis.call('HSET', KEYS[1], 'releasedEpoch', q.epoch)
if tonumber(record.attempt) > tonumber(record.retries) then
  end_failed(record, now, q.code, q.message, q.ttl, given(q.usage))
  return 'exhausted'
end
redis.call('HSET', KEYS[1], 'state', 'queued', 'epoch', '', 'holder', '', 'waitingSince', int(now),
  'spent', cjson.encode(spent_with(record, given(q.usage))))
set_deadline(record.taskId, now + step_of(record).maxWaitMs - tonumber(record.waitedMs) + q.graceMs)
add_event(now, {type = 'retrying', taskId = record.taskId, attempt = tonumber(record.attempt), at = now,
  reason = q.code, retryAfter = q.retryAfter}, q.ttl.maxlen)
tally(now, 'retry', q.code, step_of(record).queueId)
return 'released'
