-- Move what is due from the waiting set into the queue.
-- ARGV[1]  most to move in one go
-- Result   {moved, milliseconds until the next one is due, or -1 when none waits}
local moved = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, ARGV[1])) do
  redis.call('ZREM', due, id)
  local key = record_key(id)
  local status, watched = unpack(redis.call('HMGET', key, 'status', 'watch'))
  if status == 'scheduled' or status == 'retrying' then
    redis.call('HSET', key, 'status', 'queued')
    redis.call('XADD', stream, '*', 'id', id)
    tell(id, watched)
    moved = moved + 1
  end
end
local head = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
if not head[2] then return {moved, -1} end
return {moved, math.max(0, tonumber(head[2]) - now)}
