-- Forget a user: every key that holds something of theirs, at once; or nothing, when a task of theirs is open or something
-- has come since the caller looked their keys up. What stays is the balance, under a hash: its ledger becomes one line.
-- Sent twice, the second finds nothing and changes nothing.
--
-- KEYS  1 tasks:open, 2 user:{id}:active, 3 user:{id}:keys, 4 user:{id}:services, 5 user:{id}:resume, 6 quota:{…},
--       7 ledger:{…}, 8… the user's services, and all that user:{id}:keys names, records of tasks first
-- ARGV  1 JSON: services (how many of the last ones are services), keys (how many user:{id}:keys names), tasks (how many of
--         these are records of tasks)
-- returns JSON: {status: done | busy | changed, resumes, services, tasks, balance (or null)}

local q = cjson.decode(ARGV[1])

for _, id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  if redis.call('ZSCORE', KEYS[1], id) then return cjson.encode({status = 'busy'}) end
end
if redis.call('ZCARD', KEYS[3]) ~= q.keys or redis.call('ZCARD', KEYS[4]) ~= q.services then
  return cjson.encode({status = 'changed'})
end

-- Removes some of KEYS and returns how many there were: many in a command, since each is billed, and their memory is given
-- back beside Redis's own work, which a user of thousands of tasks must not hold up.
local AT_ONCE = 1000
local function remove(first, count)
  local removed = 0
  for from = first, first + count - 1, AT_ONCE do
    removed = removed + redis.call('UNLINK', unpack(KEYS, from, math.min(from + AT_ONCE, first + count) - 1))
  end
  return removed
end

local answer = {status = 'done'}
answer.resumes = redis.call('HEXISTS', KEYS[5], 'summary') + redis.call('HEXISTS', KEYS[5], 'detailed')
answer.services, answer.tasks = remove(8, q.services), remove(8 + q.services, q.tasks)
remove(8 + q.services + q.tasks, q.keys - q.tasks)
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5])

local balance = tonumber(redis.call('HGET', KEYS[6], 'balance') or nil)
if balance and redis.call('LLEN', KEYS[7]) > 1 then
  local t = redis.call('TIME')
  redis.call('DEL', KEYS[7])
  redis.call('RPUSH', KEYS[7], cjson.encode({
    at = t[1] * 1000 + math.floor(t[2] / 1000), kind = 'grant', delta = balance, balance = balance}))
end
answer.balance = balance or cjson.null
return cjson.encode(answer)
