-- Note what came of a try to tell a callback URL; whoever has heard, or is not to be told again, is taken out.
-- ARGV[1]   id of the invocation
-- ARGV[2]   JSON of the try
-- ARGV[3]   '1' when no other try is to come
-- Result    nil
if ARGV[3] == '1' then redis.call('ZREM', callbacks, ARGV[1]) end
if redis.call('EXISTS', record_key(ARGV[1])) == 1 then
  redis.call('HSET', record_key(ARGV[1]), 'called_back', ARGV[2])
end
