-- List open tasks whose deadline has passed, oldest first, on Redis's clock. Reads only.
-- uses: lib_task
--
-- KEYS  1–2 unused  3 tasks:open
-- ARGV  1 how many at most
-- returns task ids

return redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', int(now_ms()), 'LIMIT', 0, ARGV[1])
