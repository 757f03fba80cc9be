-- Cancel a task: its end, refunded, and the stop button of whoever runs it, whose next write the event's id refuses.
-- The slot stays its holder's until the provider call is closed. Sent twice, it changes nothing.
-- uses: lib_task
--
-- KEYS  as lib_task says
-- ARGV  1 JSON: ttl {maxlen, streamMs, taskMs}
-- returns the state: cancelled | done | failed | unknown

local q = cjson.decode(ARGV[1])
local record = read_record(unpack(END_FIELDS))
if not record.state then return 'unknown' end
if ENDED[record.state] then return record.state end
end_task(record, 'cancelled', now_ms(), {type = 'cancelled'}, {}, q.ttl)
return 'cancelled'
