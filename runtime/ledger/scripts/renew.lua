-- Renew the leases of what a worker holds.
-- ARGV[1]   consumer name
-- ARGV[2]   lease ms, for what has no stream entry
-- ARGV[3…]  id, fence, entry, id, fence, entry, …
-- Result    {position from 0, why, position, why, …} of what it must let go: 'stale' (another attempt has begun) or 'cancel'
local gone = {}
for n = 3, #ARGV, 3 do
  local id, fence, entry = ARGV[n], ARGV[n + 1], ARGV[n + 2]
  local status, current, cancel = unpack(redis.call('HMGET', record_key(id), 'status', 'fence', 'cancel'))
  if status ~= 'running' or current ~= fence then
    gone[#gone + 1] = (n - 3) / 3
    gone[#gone + 1] = 'stale'
  else
    if entry == '' then
      -- ZREM needs no memory, and after a first write a script is let through: a full Redis must not end living workers' leases.
      redis.call('ZREM', leases, id)
      redis.call('ZADD', leases, now + ARGV[2], id)
    else
      redis.call('XCLAIM', stream, group, ARGV[1], 0, entry, 'JUSTID')
    end
    if cancel then
      gone[#gone + 1] = (n - 3) / 3
      gone[#gone + 1] = 'cancel'
    end
  end
end
return gone
