-- Ask to be told of an invocation's changes on the queue's news channel; the answer closes the race.
-- ARGV[1]  id
-- Result   its status, or false when there is no such record
local key = record_key(ARGV[1])
local status = redis.call('HGET', key, 'status')
if status then redis.call('HSET', key, 'watch', '1') end
return status
