-- Cancel an invocation. What waits or is queued is cancelled at once; of what runs, the worker is told.
-- ARGV[1]  id
-- ARGV[2]  ttl of a cancelled record, ms
-- Result   the status it had, or false when there is no such record; 'running' is cancelled when its worker says so
local id = ARGV[1]
local key = record_key(id)
local status, watched, callback = unpack(redis.call('HMGET', key, 'status', 'watch', 'callback'))
if status == 'scheduled' or status == 'queued' or status == 'retrying' then
  redis.call('ZREM', due, id)
  -- A queued entry stays in the stream; whoever is handed it finds it cancelled and drops it.
  redis.call('HSET', key, 'status', 'cancelled', 'ended_ms', now,
    'error', '{"kind":"cancelled","type":"Cancelled","message":"it was cancelled before it ran"}')
  redis.call('PEXPIRE', key, ARGV[2])
  call_back(id, callback)
  tell(id, watched)
elseif status == 'running' then
  redis.call('HSET', key, 'cancel', '1')
  redis.call('PUBLISH', orders, id)
end
return status
