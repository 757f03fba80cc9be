-- Grant coins to a user, or take some back, once for each reference: balance, ledger and the reference's mark are one write.
-- A user never seen gets the first grant before, as at an admission. Never takes more than there is.
--
-- KEYS  1 quota:{sha256}, 2 ledger:{sha256}
-- ARGV  1 JSON: coins (below 0 to take back), reference, mark (the reference's SHA-256: it outlives a deletion),
--         initialQuota (coins)
-- returns JSON: {status: granted | replay | mismatch | short, coins, balance}; coins of the grant that stands

local q = cjson.decode(ARGV[1])
local mark = 'grant:' .. q.mark
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local function int(number)
  return string.format('%.0f', number)
end

local function entry(delta, balance, reference)
  redis.call('RPUSH', KEYS[2], cjson.encode({
    at = now, kind = 'grant', delta = delta, balance = balance, reference = reference}))
end

local stored, given = unpack(redis.call('HMGET', KEYS[1], 'balance', mark))
local balance = tonumber(stored or q.initialQuota)
if given then
  local status = tonumber(given) == q.coins and 'replay' or 'mismatch'
  return cjson.encode({status = status, coins = tonumber(given), balance = balance})
end
if balance + q.coins < 0 then return cjson.encode({status = 'short', coins = 0, balance = balance}) end

if not stored then entry(q.initialQuota, q.initialQuota) end
balance = balance + q.coins
entry(q.coins, balance, q.reference)
redis.call('HSET', KEYS[1], 'balance', int(balance), mark, int(q.coins))
return cjson.encode({status = 'granted', coins = q.coins, balance = balance})
