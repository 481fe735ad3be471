-- Remove stream entries that another carrier has taken over for good: their messages are confirmed.
-- ARGV[1]  ms after which a message that nobody has claimed is sent again
-- ARGV[2…] entry, id, entry, id, …
-- Result   how many are now the other carrier's to deliver
local count = 0
for n = 2, #ARGV, 2 do
  local entry, id = ARGV[n], ARGV[n + 1]
  drop_entry(entry)
  -- What was delivered faster than it was confirmed has its lease by now, or is over.
  if redis.call('HGET', record_key(id), 'status') == 'queued' then
    redis.call('ZADD', leases, now + ARGV[1], id)
    count = count + 1
  end
end
return count
