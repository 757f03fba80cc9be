-- Begin to publish a step that has no message yet: its number for the deduplication id. Again until it is confirmed,
-- it answers the same number; once confirmed, nothing is left to publish.
-- uses: lib_task
--
-- KEYS  as lib_task says
-- ARGV  1 step
-- returns n ≥ 1: publish with this number; 0: nothing to publish

local record = read_record('state', 'step', 'n', 'published')
if record.state ~= 'queued' or record.step ~= ARGV[1] or record.published == '1' then return 0 end
if record.n == '0' then redis.call('HSET', KEYS[1], 'n', '1') end
return math.max(1, tonumber(record.n))
