-- Pause a schedule, or let it go on.
-- ARGV[1]  schedule id
-- ARGV[2]  1: pause · 0: go on
-- ARGV[3]  state kept, ms
-- Result   1 when that changed something, else 0
local state = base .. ':cron:' .. ARGV[1]
local changed
if ARGV[2] == '1' then
  changed = redis.call('HSETNX', state, 'paused', string.format('%.0f', now))
else
  changed = redis.call('HDEL', state, 'paused')
end
redis.call('PEXPIRE', state, ARGV[3])
return changed
