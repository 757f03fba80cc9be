-- End a task as failed, refunded: by its running attempt (`epoch` given), or by `actions` (`epoch` empty).
-- Sent twice, or to a task that has ended, it changes nothing.
-- uses: lib_task
--
-- KEYS  as lib_task says; 9 the idempotency key to free, so that the user's next try is a new task
-- ARGV  1 JSON: epoch (may be empty), holder, code, message, usage (what the attempt used, or null), ttl {maxlen, streamMs,
--         taskMs}
-- returns the state: failed | superseded (another attempt runs) | done | cancelled | unknown; queued or running when
--         `actions` meant to end a task that has been published after all

local q = cjson.decode(ARGV[1])
local record = read_record(unpack(END_FIELDS))
if q.holder ~= '' then redis.call('ZREM', KEYS[7], q.holder) end
if not record.state then return 'unknown' end
if ENDED[record.state] then
  -- A second request under a key of its own may have been told of this task: both are free for the next try.
  if q.epoch == '' and record.state == 'failed' then free_idempotency_key(record.taskId) end
  return record.state
end
if q.epoch ~= '' and record.epoch ~= q.epoch then return 'superseded' end
-- A repeated request has published it meanwhile: the failure of the first is nobody's loss.
if q.epoch == '' and record.published == '1' then return record.state end
local now = now_ms()
end_failed(record, now, q.code, q.message, q.ttl, given(q.usage))
if q.epoch == '' then tally(now, 'refused', q.code, step_of(record).queueId) end
free_idempotency_key(record.taskId)
return 'failed'
