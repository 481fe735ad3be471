-- Hand back claimed invocations that have not started, without burning an attempt.
-- ARGV      id, fence, entry, id, fence, entry, …
-- Result    how many were handed back
local count = 0
for n = 1, #ARGV, 3 do
  local id, fence, entry = ARGV[n], ARGV[n + 1], ARGV[n + 2]
  local key = record_key(id)
  local status, current, attempt, watched = unpack(redis.call('HMGET', key, 'status', 'fence', 'attempt', 'watch'))
  if status == 'running' and current == fence then
    -- The fence stays raised: what this worker still says about the attempt is refused.
    redis.call('HSET', key, 'status', 'queued', 'attempt', attempt - 1, 'fence', current + 1)
    redis.call('HDEL', key, 'entry', 'worker', 'started_ms')
    drop_entry(entry)
    redis.call('XADD', stream, '*', 'id', id)
    tell(id, watched)
    count = count + 1
  end
end
return count
