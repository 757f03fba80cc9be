-- Set one of an operator's controls over the configured limits, or clear it; what holds no more is dropped on the way. A
-- lane that goes on is measured anew: a stop is no slow end. Sent twice, the second sets, or clears, the same.
--
-- KEYS  1 queue:rates, 2 controls:changes
-- ARGV  1 JSON: kind (slots | places | stopped | draining), name (`{modelId}:{tier}`, a lane, or `all`), value (null
--         clears), by, reason, forMs (how long it holds; null: until it is cleared), kept (changes remembered)
-- returns JSON: {status: set | cleared | unchanged (there was nothing to clear), at (ms), before and after (controls, or null)}

local q = cjson.decode(ARGV[1])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local function holds(control)
  return not control.untilMs or control.untilMs > now
end

local all = cjson.decode(redis.call('HGET', KEYS[1], 'controls') or '{}')
for kind, named in pairs(all) do
  for name, control in pairs(named) do
    if not holds(control) then named[name] = nil end
  end
  if next(named) == nil then all[kind] = nil end
end

local before = (all[q.kind] or {})[q.name]
local after = nil
if q.value ~= cjson.null then
  after = {value = q.value, by = q.by, reason = q.reason, sinceMs = now,
    untilMs = q.forMs ~= cjson.null and now + q.forMs or nil}
end
local answer = {at = now, before = before or cjson.null, after = after or cjson.null,
  status = after and 'set' or before and 'cleared' or 'unchanged'}
if answer.status ~= 'unchanged' then
  all[q.kind] = all[q.kind] or {}
  all[q.kind][q.name] = after
  if next(all[q.kind]) == nil then all[q.kind] = nil end
  redis.call('HSET', KEYS[1], 'controls', cjson.encode(all))
  if q.kind == 'stopped' and not after and redis.call('HEXISTS', KEYS[1], q.name .. ':at') == 1 then
    redis.call('HSET', KEYS[1], q.name .. ':at', string.format('%.0f', now))
  end
  redis.call('LPUSH', KEYS[2], cjson.encode({at = now, kind = q.kind, name = q.name, by = q.by, reason = q.reason,
    before = answer.before, after = answer.after}))
  redis.call('LTRIM', KEYS[2], 0, q.kept - 1)
end
return cjson.encode(answer)
