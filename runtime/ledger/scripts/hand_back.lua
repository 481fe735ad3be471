-- Hand back claimed invocations that have not started, or that the end of their worker cut short, without burning an attempt.
-- One that somebody wished to cancel meanwhile is cancelled.
-- ARGV      id, fence, entry, id, fence, entry, …
-- Result    how many were handed back
local count = 0
for n = 1, #ARGV, 3 do
  local id, fence, entry = ARGV[n], ARGV[n + 1], ARGV[n + 2]
  local key = record_key(id)
  local status, current, attempt, watched, cancel =
    unpack(redis.call('HMGET', key, 'status', 'fence', 'attempt', 'watch', 'cancel'))
  if status == 'running' and current == fence then
    redis.call('HSET', key, 'attempt', attempt - 1)
    release(id, entry)
    if cancel then
      cancel_now(id, watched, 'it was cancelled before it had run to its end')
    else
      wait_again(id, watched)
      redis.call('XADD', stream, '*', 'id', id)
    end
    count = count + 1
  end
end
return count
