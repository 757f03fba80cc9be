-- Look after one task that may be overdue: end it, refunded, have its next step published, or leave it alone.
-- Sent twice, late or for a task that ended, it changes nothing.
-- uses: lib_task
--
-- KEYS  as lib_task says; 9 the idempotency key to free when the task was never handed over
-- ARGV  1 JSON: taskId, slots (limit of the step's model), graceMs, unpublishedMs, ttl {maxlen, streamMs, taskMs}
-- returns not_due | alive | publish | lost | wait_timeout | gone

local q = cjson.decode(ARGV[1])
local now = now_ms()

-- Whether what kept the task waiting is that its lane takes nobody just now.
local function is_held_up(record)
  local control = read_controls(now)
  return control('stopped', step_of(record).queueId)
    or redis.call('ZCOUNT', KEYS[7], int(now), '+inf') >= slots_in_force(control, q.slots)
end

local record = read_record(unpack(END_FIELDS))
if not record.state or ENDED[record.state] then
  redis.call('ZREM', KEYS[3], q.taskId)
  redis.call('SREM', KEYS[4], q.taskId)
  return 'gone'
end
local deadline = redis.call('ZSCORE', KEYS[3], q.taskId)
if deadline and tonumber(deadline) > now then return 'not_due' end

if record.state == 'running' then
  local lease = tonumber(redis.call('ZSCORE', KEYS[7], record.holder) or 0)
  if lease > now then
    set_deadline(q.taskId, lease + q.graceMs)
    return 'alive'
  end
  attempt_died(record, lease, now)
elseif record.published == '0' and (tonumber(record.step) > 0 or tonumber(record.n) > 1)
  and waited_ms(record, now) <= step_of(record).maxWaitMs then
  -- Its producer had accepted it long ago: what is missing is only a message that a callback did not publish.
  set_deadline(q.taskId, now + q.unpublishedMs)
  tally(now, 'sweep', 'publish', step_of(record).queueId)
  return 'publish'
elseif record.published == '1' and is_held_up(record) then
  end_failed(record, now, 'wait_timeout', 'The task waited too long for its turn; nothing was charged.', q.ttl)
  tally(now, 'sweep', 'wait_timeout', step_of(record).queueId)
  return 'wait_timeout'
end
end_failed(record, now, 'lost', 'The task was lost on its way; nothing was charged.', q.ttl)
tally(now, 'sweep', 'lost', step_of(record).queueId)
if record.published == '0' then free_idempotency_key(q.taskId) end
return 'lost'
