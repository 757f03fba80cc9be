-- Read a task as its owner sees it, and whether it is overdue. Reads only.
-- uses: lib_task
--
-- KEYS  as lib_task says; only 1, 3, 8 and the queues are read
-- ARGV  none
-- returns JSON: the record's fields, position (tasks ahead), etaSeconds, slots (of its step's model, when an operator has
--         set them), overdue; or null

local flat = redis.call('HGETALL', KEYS[1])
if #flat == 0 then return cjson.encode(cjson.null) end
local record = {}
for i = 1, #flat, 2 do record[flat[i]] = flat[i + 1] end
record.input = nil
local now = not ENDED[record.state] and now_ms()
if record.state == 'queued' then
  local step = step_of(record)
  local controls, ms = unpack(redis.call('HMGET', KEYS[8], 'controls', step.queueId .. ':ms'))
  intervals[step.queueId] = tonumber(ms or nil) or false
  local slots = controls_in(controls, now)('slots', step.modelId .. ':' .. record.tier)
  record.slots = slots and slots.value
  local rank = redis.call('ZRANK', queue_key(step.queueId), record.taskId .. ':' .. record.step)
  record.position = rank or nil
  record.etaSeconds = rank and eta_seconds(step.queueId, rank + 1) or nil
end
if not ENDED[record.state] then
  local deadline = redis.call('ZSCORE', KEYS[3], record.taskId)
  record.overdue = not deadline or tonumber(deadline) <= now
end
return cjson.encode(record)
