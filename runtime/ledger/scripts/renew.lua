-- Renew the leases of what a worker holds.
-- ARGV[1]   consumer name
-- ARGV[2…]  id, fence, entry, id, fence, entry, …
-- Result    {position from 0, why, position, why, …} of what it must let go: 'stale' (another attempt has begun) or 'cancel'
local gone = {}
for n = 2, #ARGV, 3 do
  local id, fence, entry = ARGV[n], ARGV[n + 1], ARGV[n + 2]
  local status, current, cancel = unpack(redis.call('HMGET', record_key(id), 'status', 'fence', 'cancel'))
  if status ~= 'running' or current ~= fence then
    gone[#gone + 1] = (n - 2) / 3
    gone[#gone + 1] = 'stale'
  else
    redis.call('XCLAIM', stream, group, ARGV[1], 0, entry, 'JUSTID')
    if cancel then
      gone[#gone + 1] = (n - 2) / 3
      gone[#gone + 1] = 'cancel'
    end
  end
end
return gone
