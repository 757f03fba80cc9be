-- Add the counts of minutes long past up into one field without a minute. Sent twice, the second finds nothing to do.
--
-- KEYS  1 tallies
-- ARGV  1 how many minutes stay apart
-- returns how many fields have been added up

local minute = math.floor(redis.call('TIME')[1] / 60)
local flat = redis.call('HGETALL', KEYS[1])
local sums, old = {}, {}
for i = 1, #flat, 2 do
  local name, at = string.match(flat[i], '^(.*|)(%d+)$')
  if at and tonumber(at) <= minute - tonumber(ARGV[1]) then
    sums[name] = (sums[name] or 0) + tonumber(flat[i + 1])
    old[#old + 1] = flat[i]
  end
end
for name, count in pairs(sums) do redis.call('HINCRBY', KEYS[1], name, string.format('%.0f', count)) end
for first = 1, #old, 1000 do redis.call('HDEL', KEYS[1], unpack(old, first, math.min(first + 999, #old))) end
return #old
