-- Count the tasks that were ever accepted, at one moment: those that ended, folded or not yet, and those that are open.
-- Reads only.
--
-- KEYS  1 journal, 2 sums, 3 tasks:open
-- ARGV  none
-- returns {tasks ended, tasks open}

local cursor, ended = unpack(redis.call('HMGET', KEYS[2], 'cursor', 'tasks'))
local count = ended and cjson.decode(ended)[1] or 0
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. (cursor or '0-0'), '+')) do
  local is_json, end_ = pcall(cjson.decode, entry[2][2])
  if is_json and type(end_) == 'table' and end_.last then count = count + 1 end
end
return {count, redis.call('ZCARD', KEYS[3])}
