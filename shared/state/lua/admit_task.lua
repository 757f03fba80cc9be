-- Admit a task: idempotency key, quota, tier, the user's cap, a place in every queue, debit, record, first event.
-- All of it or nothing, but that who is refused by a full queue is promised a place at the time that they are told.
-- Sent twice with one task id, the second changes nothing and answers `replay`.
-- uses: lib_task
--
-- KEYS  as lib_task says, with promised:{queueId}; 10 the service's record (an upload's: the user's résumés),
--       11 the user's index of services
-- ARGV  1 JSON: taskId, serviceId, userId, action, locale, retries, traceparent, input (text), cost (coins),
--         initialQuota (coins), userMax, steps {paid: […], free: […]} of {templateId, queueId, modelId,
--         maxWaitMs}, places {queueId: limit}, placeMaxAgeMs, unpublishedMs, openTtlMs, keepMs, notedMs (how long
--         what an admission makes can live), maxlen, fingerprint (or null), idempotencyMs, service (flat list of fields,
--         or null), uploads (stands for a service in the ids of an upload), once (one task at a time for this action and
--         service), touched (overdue tasks have been ended already)
-- returns JSON: {status: accepted | replay | mismatch | overdue | draining | user_busy | queue_full, …}

local q = cjson.decode(ARGV[1])
local now = now_ms()
local KEPT_MS = 5000 -- how long, and for one more end, a place is kept for somebody who does not come
local KEPT_SHARE = 0.75 -- of a queue's places, at most
local USER = string.match(KEYS[5], '[^:]+$') -- the hash of the user's id: a deleted user leaves no name here

local function known_task()
  if q.fingerprint ~= cjson.null then
    local known = redis.call('GET', KEYS[9])
    if known then
      known = cjson.decode(known)
      if known.fingerprint ~= q.fingerprint then return {status = 'mismatch'} end
      return {status = 'replay', taskId = known.taskId}
    end
  end
  if redis.call('EXISTS', KEYS[1]) == 1 then return {status = 'replay', taskId = q.taskId} end
end

-- The user's open tasks; one that the index no longer has has ended, and is forgotten here too.
local function open_tasks()
  local ids = redis.call('SMEMBERS', KEYS[4])
  if #ids == 0 then return 0, {} end
  local deadlines = redis.call('ZMSCORE', KEYS[3], unpack(ids))
  local count, overdue = 0, {}
  for i, id in ipairs(ids) do
    if not deadlines[i] then
      redis.call('SREM', KEYS[4], id)
    else
      count = count + 1
      if tonumber(deadlines[i]) <= now then overdue[#overdue + 1] = id end
    end
  end
  return count, overdue
end

-- The open task of the same action for the same service, when there may be one only; asked in one breath, whether that
-- service is still there.
local has_service
local function task_under_way()
  if not q.once then return nil end
  local known, user, created = unpack(redis.call('HMGET', KEYS[10], 'task:' .. q.action, 'userId', 'createdAt'))
  has_service = (user or created) and true or false
  local id = known and cjson.decode(known)
  return id and redis.call('ZSCORE', KEYS[3], id) and id
end

-- Returns the name of the key that now leads to the task, if the request has one.
local function remember_key(task_id)
  if q.fingerprint == cjson.null then return nil end
  redis.call('SET', KEYS[9], cjson.encode({taskId = task_id, fingerprint = q.fingerprint}), 'PX', int(q.idempotencyMs))
  return KEYS[9]
end

-- What a deletion of the user has to remove: the names of these keys, for as long as they live.
local function note_keys(...)
  local noted = {}
  for i, key in ipairs({...}) do noted[2 * i - 1], noted[2 * i] = int(now), key end
  if #noted > 0 then redis.call('ZADD', KEYS[12], unpack(noted)) end
end

-- The newest task of each action, for a page that is opened again; a service that is gone is not brought back.
local function note_service()
  local fields = {'task:' .. q.action, cjson.encode(q.taskId)}
  if q.service ~= cjson.null then
    fields = {'createdAt', int(now), fields[1], fields[2], unpack(q.service)}
    redis.call('ZADD', KEYS[11], int(now), q.serviceId)
  elseif q.serviceId ~= q.uploads then
    if has_service == nil then has_service = redis.call('EXISTS', KEYS[10]) == 1 end
    if not has_service then return end
  end
  redis.call('HSET', KEYS[10], unpack(fields))
  redis.call('PEXPIRE', KEYS[10], int(q.keepMs))
  redis.call('PEXPIRE', KEYS[11], int(q.keepMs + q.placeMaxAgeMs)) -- this task may write the record once more
end

-- The measured intervals of all its queues, and the operators' controls, in one read.
local control
local function read_rates(steps)
  local names = {'controls'}
  for i, step in ipairs(steps) do names[i + 1] = step.queueId .. ':ms' end
  local values = redis.call('HMGET', KEYS[8], unpack(names))
  for i, step in ipairs(steps) do intervals[step.queueId] = tonumber(values[i + 1] or nil) or false end
  control = controls_in(values[1], now)
end

local function places(queue_id)
  local set = control('places', queue_id)
  return set and set.value or q.places[queue_id]
end

local function promised_key(queue_id)
  for i = 15, #KEYS do
    if KEYS[i] == 'promised:' .. queue_id then return KEYS[i] end
  end
  error('no such queue')
end

-- Older promises count no more. They are removed after a write that needs memory, never before: Redis refuses a script
-- for full memory only at its first write.
local function kept_since(id)
  return now - KEPT_MS - (interval_ms(id) or 0)
end

local function my_promise(id)
  local mine = tonumber(redis.call('ZSCORE', promised_key(id), USER) or nil)
  return mine and mine >= kept_since(id) and mine or nil
end

-- Places kept for who was told to come back by now: newcomers do not get them, nor who was told to come later. An empty
-- queue has no line before it.
local function kept_places(id, used)
  if used == 0 then return 0 end
  local due = redis.call('ZCOUNT', promised_key(id), int(kept_since(id)), '(' .. int(now))
  local mine = due > 0 and my_promise(id)
  if mine and mine < now then due = redis.call('ZCOUNT', promised_key(id), int(kept_since(id)), '(' .. int(mine)) end
  return math.min(due, math.floor(places(id) * KEPT_SHARE)) -- a crowd that never comes must not empty the queue
end

-- The seconds after which a refused user is to come back: as many ends from now as there are too many in the queue and
-- others told to come before, so that they do not all come at once. Asked again before, it answers the time that is left;
-- whoever came in time for nothing goes before all the others.
local function promise(id, excess)
  local ms = interval_ms(id)
  if not ms then return retry_after(id, excess) end
  local key = promised_key(id)
  local mine = my_promise(id)
  local at, place = mine, mine
  if not mine then
    local last = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2] or 0
    at = math.max(now + math.ceil(excess * ms), tonumber(last) + math.ceil(ms))
    place = at
  elseif mine <= now then
    local following = redis.call('ZRANGEBYSCORE', key, '(' .. int(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
    at = now + math.ceil(excess * ms)
    place = math.min(at, following and tonumber(following) - 1 or at)
  end
  if place ~= mine then
    redis.call('ZADD', key, int(place), USER)
    redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. int(kept_since(id)))
    redis.call('PEXPIRE', key, int(math.max(place - now + KEPT_MS + ms, redis.call('PTTL', key))))
  end
  return math.min(300, math.max(1, math.ceil((at - now) / 1000)))
end

-- Nobody is promised a place in a lane that stands still.
local function full_retry_after(id, excess)
  local stop = control('stopped', id)
  return stop and ask_again_after(stop, now, 300, 60) or promise(id, excess)
end

local used_places = {} -- of the queues that full_queue has looked at

local function full_queue(steps)
  local wanted = {}
  for _, step in ipairs(steps) do wanted[step.queueId] = (wanted[step.queueId] or 0) + 1 end
  for _, step in ipairs(steps) do
    local id, key = step.queueId, queue_key(step.queueId)
    local used = redis.call('ZCARD', key)
    local excess = used + kept_places(id, used) + wanted[id] - places(id)
    used_places[id] = used
    if excess > 0 then
      local removed = redis.call('ZREMRANGEBYSCORE', key, '-inf', int(now - q.placeMaxAgeMs))
      used_places[id], excess = used - removed, excess - removed
      if excess > 0 then return {status = 'queue_full', queueId = id, retryAfter = full_retry_after(id, excess)} end
    end
  end
end

local function take_places(steps)
  for i, step in ipairs(steps) do
    local key = queue_key(step.queueId)
    redis.call('ZADD', key, int(now), q.taskId .. ':' .. int(i - 1))
    redis.call('ZREM', promised_key(step.queueId), USER)
    if used_places[step.queueId] == 0 then redis.call('HSET', KEYS[8], step.queueId .. ':at', int(now)) end
  end
end

local function entry(kind, delta, balance)
  local line = {at = now, kind = kind, delta = delta, balance = balance}
  if kind ~= 'grant' then line.taskId, line.action = q.taskId, q.action end
  redis.call('RPUSH', KEYS[6], cjson.encode(line))
end

local function debit(balance, is_new, cost)
  if is_new then entry('grant', q.initialQuota, q.initialQuota) end
  if cost > 0 then entry('debit', -cost, balance - cost) end
  if is_new or cost > 0 then redis.call('HSET', KEYS[5], 'balance', int(balance - cost)) end
end

local answer = known_task()
if answer then
  if answer.status == 'mismatch' then tally(now, 'refused', 'mismatch', '')
  elseif answer.taskId ~= q.taskId then tally(now, 'replay', 'key', '') end
  return cjson.encode(answer)
end

local count, overdue = open_tasks()
if #overdue > 0 and not q.touched then return cjson.encode({status = 'overdue', tasks = overdue}) end

local under_way = task_under_way()
if under_way then
  note_keys(remember_key(under_way))
  tally(now, 'replay', 'under_way', '')
  return cjson.encode({status = 'replay', taskId = under_way})
end

local stored = redis.call('HGET', KEYS[5], 'balance')
local balance = tonumber(stored or q.initialQuota)
local tier = balance >= q.cost and 'paid' or 'free'
local cost = tier == 'paid' and q.cost or 0
local steps = q.steps[tier]

read_rates(steps)
local draining = control('draining', 'all')
if draining then
  tally(now, 'refused', 'draining', steps[1].queueId)
  return cjson.encode({status = 'draining', retryAfter = ask_again_after(draining, now, 300, 60)})
end
if count >= q.userMax then
  tally(now, 'refused', 'user_busy', steps[1].queueId)
  return cjson.encode({status = 'user_busy', retryAfter = retry_after(steps[1].queueId, 1)})
end
local full = full_queue(steps)
if full then
  tally(now, 'refused', 'queue_full', full.queueId)
  return cjson.encode(full)
end

take_places(steps)
debit(balance, not stored, cost)
redis.call('HSET', KEYS[1], 'taskId', q.taskId, 'serviceId', q.serviceId, 'userId', q.userId, 'action', q.action,
  'state', 'queued', 'tier', tier, 'cost', int(cost), 'refunded', '0', 'locale', q.locale,
  'retries', int(q.retries), 'steps', cjson.encode(steps), 'step', '0', 'attempt', '0', 'epoch', '', 'holder', '',
  'n', '1', 'published', '0', 'requeues', '0', 'waitedMs', '0', 'waitingSince', int(now), 'createdAt', int(now),
  'input', q.input, 'idempotency', q.fingerprint ~= cjson.null and KEYS[9] or '',
  'traceparent', q.traceparent ~= cjson.null and q.traceparent or '')
redis.call('PEXPIRE', KEYS[1], int(q.openTtlMs))
note_service()
redis.call('ZREMRANGEBYSCORE', KEYS[12], '-inf', int(now - q.notedMs))
note_keys(KEYS[1], KEYS[2], remember_key(q.taskId))
redis.call('PEXPIRE', KEYS[12], int(q.notedMs))
set_deadline(q.taskId, now + q.unpublishedMs)
redis.call('SADD', KEYS[4], q.taskId)

local position = used_places[steps[1].queueId] -- its place is the newest of all
local eta = eta_seconds(steps[1].queueId, position + 1)
add_event(now, {type = 'queued', taskId = q.taskId, attempt = 0, at = now, queueId = steps[1].queueId,
  step = 0, position = position, etaSeconds = eta or cjson.null}, q.maxlen)
redis.call('PEXPIRE', KEYS[2], int(q.openTtlMs))
local slots = control('slots', steps[1].modelId .. ':' .. tier)
return cjson.encode({status = 'accepted', taskId = q.taskId, tier = tier, steps = steps, createdAt = now,
  slots = slots and slots.value})
