-- Take tokens from a bucket that refills steadily (the generic cell rate algorithm, ITU-T I.371).
-- The key holds the moment at which the bucket will be full again; it is gone once it is full.
-- ARGV[1]  the bucket's name
-- ARGV[2]  ms in which one token comes back
-- ARGV[3]  tokens in a full bucket
-- ARGV[4]  tokens wanted
-- Result   {tokens taken, tokens left, ms until the next one when fewer were taken than wanted, else 0}
local key = base .. ':rate:' .. ARGV[1]
local interval, most, wanted = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local full_at = math.max(tonumber(redis.call('GET', key) or now), now)
local free = math.max(math.floor((now - full_at) / interval + most + 0.001), 0)
local taken = math.min(free, wanted)
if taken > 0 then
  full_at = full_at + taken * interval
  redis.call('SET', key, string.format('%.3f', full_at), 'PX', math.ceil(full_at - now) + 1)
end
local retry = taken < wanted and math.max(math.ceil(full_at - now - (most - 1) * interval), 1) or 0
return {taken, free - taken, retry}
