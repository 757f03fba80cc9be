-- Renew an attempt's lease, or learn that the attempt is over. A lease that lapsed unnoticed is taken again only
-- if nobody took the task over and a slot is free. Sent twice, it is renewed twice.
-- uses: lib_task
--
-- KEYS  as lib_task says
-- ARGV  1 epoch (ms)  2 holder  3 lease (ms)  4 slots (limit)
-- returns 1 renewed, 0 lost

local record = read_record('state', 'epoch')
if record.state ~= 'running' or record.epoch ~= ARGV[1] then return 0 end
local now = now_ms()
local lease = tonumber(redis.call('ZSCORE', KEYS[7], ARGV[2]) or 0)
if lease <= now then
  local slots = slots_in_force(read_controls(now), tonumber(ARGV[4]))
  if redis.call('ZCOUNT', KEYS[7], '(' .. int(now), '+inf') >= slots then return 0 end
end
redis.call('ZADD', KEYS[7], int(now + tonumber(ARGV[3])), ARGV[2])
return 1
