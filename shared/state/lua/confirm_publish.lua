-- Confirm that a step's message is with QStash: from now on its waiting budget is its deadline.
-- Late (the task runs, moved on or ended) it changes nothing that matters.
-- uses: lib_task
--
-- KEYS  as lib_task says
-- ARGV  1 step  2 n  3 grace (ms)
-- returns 1 confirmed, 0 not this publish any more

local record = read_record('taskId', 'state', 'step', 'steps', 'n', 'waitedMs', 'waitingSince')
if not record.state or ENDED[record.state] or record.step ~= ARGV[1] or record.n ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'published', '1')
if record.state == 'queued' then
  set_deadline(record.taskId, tonumber(record.waitingSince) + step_of(record).maxWaitMs - tonumber(record.waitedMs)
    + tonumber(ARGV[3]))
end
return 1
