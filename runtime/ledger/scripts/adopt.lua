-- Move invocations that wait to another version of their folder.
-- ARGV[1]  the version they are to run on
-- ARGV[2…] id, version it was accepted by, id, version, …
-- Result   how many were moved; what has begun meanwhile, or is over, stays as it is
local moved = 0
for n = 2, #ARGV, 2 do
  local key = record_key(ARGV[n])
  local status, version = unpack(redis.call('HMGET', key, 'status', 'version'))
  if version == ARGV[n + 1] and (status == 'queued' or status == 'retrying' or status == 'scheduled') then
    redis.call('HSET', key, 'version', ARGV[1])
    moved = moved + 1
  end
end
return moved
