-- Add up one user's ledger and compare it with the balance; repair, if asked, what follows from the lines: they are the
-- truth. A user without any line, or with one that is none, is left as found. Sent twice, the second finds what the first left.
-- uses: lib_task
--
-- KEYS  1 quota:{sha256}  2 ledger:{sha256}
-- ARGV  1 JSON: repair (whether to)
-- returns JSON: a list of {kind: balance | ledger | refund, what, repaired, taskId}

local q = cjson.decode(ARGV[1])
local found, lines, total = {}, {}, 0

-- Notes a difference. `mend` repairs it, and returns false where it could not.
local function differs(kind, what, mend, task_id)
  local repaired = q.repair and mend ~= nil and mend() ~= false
  found[#found + 1] = {kind = kind, what = what, repaired = repaired, taskId = task_id}
end

local function is_line(ok, line)
  return ok and type(line) == 'table' and tonumber(line.delta) and tonumber(line.balance) and line.kind and line.at
end

local function read_lines()
  for i, text in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
    local ok, line = pcall(cjson.decode, text)
    if not is_line(ok, line) then return false end
    lines[i] = line
  end
  return true
end

local function check_running_balances()
  local wrong = {}
  for i, line in ipairs(lines) do
    total = total + line.delta
    if line.balance ~= total then wrong[#wrong + 1] = {i, total} end
  end
  if #wrong == 0 then return end
  differs('ledger', 'has ' .. #wrong .. ' lines whose balance is not that of the lines up to it', function()
    for _, at in ipairs(wrong) do
      lines[at[1]].balance = at[2]
      redis.call('LSET', KEYS[2], at[1] - 1, cjson.encode(lines[at[1]]))
    end
  end)
end

local function check_balance()
  local balance = redis.call('HGET', KEYS[1], 'balance')
  if tonumber(balance or nil) == total then return end
  differs('balance', 'is ' .. (balance or 'not there') .. ', and its ledger adds up to ' .. int(total), function()
    if #lines == 0 or total < 0 then return false end
    redis.call('HSET', KEYS[1], 'balance', int(total))
  end)
end

-- What each task was refunded beyond its debit, when that has a line: also tasks whose record has expired.
local function excess_refunds()
  local excess, debited, order = {}, {}, {}
  for _, line in ipairs(lines) do
    local id = line.taskId or string.match(tostring(line.reference), '^reconcile%-(.+)$')
    if id then
      if not excess[id] then excess[id], order[#order + 1] = 0, id end
      excess[id] = excess[id] + line.delta
      debited[id] = debited[id] or line.kind == 'debit'
    end
  end
  return excess, debited, order
end

local function take_back(task_id, coins)
  if total < coins then return false end
  total = total - coins
  redis.call('HSET', KEYS[1], 'balance', int(total))
  redis.call('RPUSH', KEYS[2], cjson.encode({
    at = now_ms(), kind = 'grant', delta = -coins, balance = total, reference = 'reconcile-' .. task_id}))
end

local function check_refunds()
  local excess, debited, order = excess_refunds()
  for _, id in ipairs(order) do
    local coins = excess[id]
    if coins > 0 then
      differs('refund', 'was refunded ' .. int(coins) .. ' more than it was debited', function()
        return debited[id] and take_back(id, coins)
      end, id)
    end
  end
end

if redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then return '[]' end
if not read_lines() then
  differs('ledger', 'holds a line that is none')
  return cjson.encode(found)
end
check_running_balances()
check_balance()
check_refunds()
return cjson.encode(found)
