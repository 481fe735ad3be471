-- Cancel an invocation. What waits or is queued is cancelled at once; of what runs, the worker is told.
-- ARGV[1]  id
-- Result   the status it had, or false when there is no such record; 'running' is cancelled when its worker says so
local id = ARGV[1]
local key = record_key(id)
local status, watched = unpack(redis.call('HMGET', key, 'status', 'watch'))
if status == 'scheduled' or status == 'queued' or status == 'retrying' then
  redis.call('ZREM', due, id)
  -- A queued entry stays in the stream; whoever is handed it finds it cancelled and drops it.
  cancel_now(id, watched, 'it was cancelled while it waited to run')
elseif status == 'running' then
  redis.call('HSET', key, 'cancel', '1')
  redis.call('PUBLISH', orders, id)
end
return status
