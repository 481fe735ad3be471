-- Move what is due from the waiting set into the queue, and what has lost its worker, or its message, back into it.
-- ARGV[1]  most to move in one go, of what is due
-- ARGV[2]  most of what is lost
-- ARGV[3]  most times a worker may be lost under one invocation before it is failed
-- ARGV[4]  retention of failed invocations, ms
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
-- Of other carriers: a lease that ran out, or a message that nobody has claimed for so long that it may be gone.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, ARGV[2])) do
  redis.call('ZREM', leases, id)
  local key = record_key(id)
  local status, entry, attempt, started, watched =
    unpack(redis.call('HMGET', key, 'status', 'entry', 'attempt', 'started_ms', 'watch'))
  local is_lost = status == 'running' and entry == ''
  if is_lost and charge_loss(id, attempt, started, watched, tonumber(ARGV[3]), ARGV[4]) then
    wait_again(id, watched)
    status = 'queued'
  end
  if status == 'queued' then redis.call('XADD', stream, '*', 'id', id) end
end
local head = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
if not head[2] then return {moved, -1} end
return {moved, math.max(0, tonumber(head[2]) - now)}
