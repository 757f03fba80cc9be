-- Add up what the journal says between where it had been read to and where its caller has read to now: the sums, that
-- place, and what of the journal may go, in one write. Whoever read from another place than it is now adds nothing.
-- Sent twice, the second finds the place moved.
--
-- KEYS  1 journal, 2 sums, 3… further hashes that are added to
-- ARGV  1 JSON: cursor (entry id, where the caller began to read), upTo (the last that it read), adds {fields, dayEnd,
--         mostDays} (one for each key from 2 on: whole numbers by field; when its day ends, ms, or null), keptMs,
--         usageDays (how long days are kept; null: as somebody has said before), defaultDays (or else so long)
-- returns folded | moved

local q = cjson.decode(ARGV[1])
local stored, days_said = unpack(redis.call('HMGET', KEYS[2], 'cursor', 'usageDays'))
if (stored or '0-0') ~= q.cursor then return 'moved' end

local function int(number)
  return string.format('%.0f', number)
end

-- Numbers of another shape are of an older version, which counted otherwise: they begin anew.
local function sum(known, numbers)
  local before = known and cjson.decode(known) or {}
  local texts = {}
  for i, number in ipairs(numbers) do texts[i] = int(number + (#before == #numbers and before[i] or 0)) end
  return '[' .. table.concat(texts, ',') .. ']'
end

local AT_ONCE = 1000 -- what Lua can unpack is bounded
local function add_to(key, fields)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  for first = 1, #names, AT_ONCE do
    local last = math.min(first + AT_ONCE - 1, #names)
    local known, flat = redis.call('HMGET', key, unpack(names, first, last)), {}
    for i = first, last do
      flat[#flat + 1], flat[#flat + 2] = names[i], sum(known[i - first + 1], fields[names[i]])
    end
    redis.call('HSET', key, unpack(flat))
  end
end

-- The entry at the place itself is never trimmed: when it is gone, the journal was cut for its length, and some entries
-- perhaps unread.
if stored and #redis.call('XRANGE', KEYS[1], stored, stored) == 0 then
  redis.call('HINCRBY', KEYS[2], 'gaps', 1)
end
local days = q.usageDays ~= cjson.null and q.usageDays or tonumber(days_said or q.defaultDays)
for i, add in ipairs(q.adds) do
  local key = KEYS[i + 1]
  add_to(key, add.fields)
  if add.dayEnd ~= cjson.null then
    redis.call('PEXPIREAT', key, int(add.dayEnd + math.min(days, add.mostDays) * 86400000))
  end
end
redis.call('HSET', KEYS[2], 'cursor', q.upTo, 'usageDays', int(days))
local oldest = redis.call('TIME')[1] * 1000 - q.keptMs
local read_ms = tonumber(string.match(q.upTo, '^%d+'))
redis.call('XTRIM', KEYS[1], 'MINID', read_ms < oldest and q.upTo or int(oldest))
return 'folded'
