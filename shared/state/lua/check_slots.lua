-- Count the holders of one model's slots at one moment. Who has lapsed counts no more, and is taken out if asked; a
-- lease that is longer than any lease can be is shortened, if asked, to what it can be.
-- uses: lib_task
--
-- KEYS  1 lock:model:{model}:{tier}
-- ARGV  1 JSON: leaseMs, repair (whether to)
-- returns JSON: {live, lapsed, tooLong: a list of holders}

local q = cjson.decode(ARGV[1])
local now = now_ms()
local longest = now + q.leaseMs
local answer = {
  live = redis.call('ZCOUNT', KEYS[1], '(' .. int(now), '+inf'),
  lapsed = redis.call('ZCOUNT', KEYS[1], '-inf', int(now)),
  tooLong = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. int(longest), '+inf'),
}
if q.repair then
  for _, holder in ipairs(answer.tooLong) do redis.call('ZADD', KEYS[1], 'XX', int(longest), holder) end
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', int(now))
end
return cjson.encode(answer)
