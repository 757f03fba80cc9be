-- Count a request, unless that would exceed its limit: a sliding window, approximated by this window's count and the one
-- before weighted by how much of it still lies within. A user's first request begins a window. A refusal writes nothing but
-- its tally, so whoever goes on knocking does not wait longer.
-- Sent twice, it counts twice: a lost reply may cost a request, and never lets one more through.
--
-- KEYS  1 rate:{sha256}:{kind}, 2 tallies
-- ARGV  1 limit (requests), 2 window (ms), 3 amount (requests)
-- returns {1 if counted, count of the window before, count of this window, how long this window still lasts (ms)}

local function int(number)
  return string.format('%.0f', number)
end

local limit, window, amount = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local stored = redis.call('HMGET', KEYS[1], 'since', 'before', 'count')
local since, before, count = tonumber(stored[1] or now), tonumber(stored[2] or 0), tonumber(stored[3] or 0)
if since > now then since = now end -- after a fail-over to a clock that is behind
if now - since >= 2 * window then
  since, before, count = now, 0, 0
elseif now - since >= window then
  since, before, count = since + window, count, 0
end

local left = since + window - now
if math.floor(before * left / window) + count + amount > limit then
  redis.pcall('HINCRBY', KEYS[2], 'refused|rate_limited||' .. int(math.floor(now / 60000)), 1)
  return {0, before, count, left}
end
count = count + amount
redis.call('HSET', KEYS[1], 'since', int(since), 'before', int(before), 'count', int(count))
if stored[1] ~= int(since) then redis.call('PEXPIRE', KEYS[1], int(left + window)) end -- the end of a window stays
return {1, before, count, left}
