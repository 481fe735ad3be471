-- Hand back claimed invocations that have not started, without burning an attempt.
-- ARGV      id, fence, entry, id, fence, entry, …
-- Result    how many were handed back
local count = 0
for n = 1, #ARGV, 3 do
  local id, fence, entry = ARGV[n], ARGV[n + 1], ARGV[n + 2]
  local key = record_key(id)
  local status, current, attempt, watched = unpack(redis.call('HMGET', key, 'status', 'fence', 'attempt', 'watch'))
  if status == 'running' and current == fence then
    redis.call('HSET', key, 'attempt', attempt - 1)
    wait_again(id, watched)
    release(id, entry)
    redis.call('XADD', stream, '*', 'id', id)
    count = count + 1
  end
end
return count
