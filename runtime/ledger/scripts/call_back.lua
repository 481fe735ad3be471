-- Hand out callbacks that are due, each put back for its next try in the same step; the last try takes it out.
-- ARGV[1]   most to hand out
-- ARGV[2…]  ms from one try to the next
-- Result    {ms until the next one is due, or -1 when none waits; {id, url, number of the try}, …}
local handed = {}
for _, id in ipairs(redis.call('ZRANGE', callbacks, '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1])) do
  local url = redis.call('HGET', record_key(id), 'callback')
  local number = url and redis.call('HINCRBY', record_key(id), 'callbacks', 1)
  local delay = number and ARGV[1 + number]
  if delay then redis.call('ZADD', callbacks, now + delay, id) else redis.call('ZREM', callbacks, id) end
  if url then handed[#handed + 1] = {id, url, number} end
end
local head = redis.call('ZRANGE', callbacks, 0, 0, 'WITHSCORES')
return {head[2] and math.max(math.ceil(tonumber(head[2]) - now), 0) or -1, unpack(handed)}
