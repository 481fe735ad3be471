-- Forget the marks of schedules that are no longer declared: one that comes back begins anew and fires nothing of the past.
-- What waited for its predecessor is listed as missed. The history stays until its time is over.
-- ARGV[1]  most missed listed
-- ARGV[2…] the schedules that are declared
-- Result   how many were retired
local declared = {}
for n = 2, #ARGV do declared[ARGV[n]] = true end
local retired = 0
for _, schedule in ipairs(redis.call('SMEMBERS', base .. ':cron')) do
  if not declared[schedule] then
    local state = base .. ':cron:' .. schedule
    local waiting = redis.call('LRANGE', state .. ':waiting', 0, -1)
    for _, packed in ipairs(waiting) do
      redis.call('LPUSH', state .. ':missed', string.format('%.0f', cmsgpack.unpack(packed)[1]) .. ' removed')
    end
    if #waiting > 0 then
      redis.call('LTRIM', state .. ':missed', 0, ARGV[1] - 1)
      redis.call('HINCRBY', state, 'missed', #waiting)
      redis.call('DEL', state .. ':waiting')
    end
    redis.call('HDEL', state, 'mark')
    redis.call('SREM', base .. ':cron', schedule)
    retired = retired + 1
  end
end
return retired
