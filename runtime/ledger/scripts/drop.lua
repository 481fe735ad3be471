-- Drop failed invocations: record, output and result are deleted.
-- ARGV[1…]  ids
-- Result    how many were dropped; what is not failed is left alone
local count = 0
for _, id in ipairs(ARGV) do
  local key = record_key(id)
  local status, name = unpack(redis.call('HMGET', key, 'status', 'function'))
  if status == 'failed' then
    redis.call('DEL', key, output_key(id), result_key(id))
    redis.call('ZREM', index, id)
    redis.call('ZREM', index_key(name), id)
    count = count + 1
  end
  if not status or status == 'failed' then redis.call('ZREM', dead, id) end
end
return count
