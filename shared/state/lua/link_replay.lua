-- Link a task that failed and the one that takes its place, both ways, by their records.
-- Sent twice, the second writes the same again.
--
-- KEYS  1 task:{id} of the task that failed, 2 task:{id} of the new one
-- ARGV  1 id of the task that failed, 2 id of the new one
-- returns linked, or gone when the first one's record is not there any more: its user has been deleted meanwhile

if redis.call('EXISTS', KEYS[1]) == 0 then return 'gone' end
redis.call('HSET', KEYS[1], 'replayedAs', ARGV[2])
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('HSET', KEYS[2], 'replayOf', ARGV[1]) end
return 'linked'
