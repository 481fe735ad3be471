-- Publish events: each record names every function that is owed an invocation, and an outbox entry has them made.
-- All events of one call are written, or none.
-- ARGV[1]   ttl of a record (and so of the dedupe on source and id), ms
-- ARGV[2]   most entries kept in the index
-- ARGV[3…]  one msgpack array each: {event key, type, document, blob|false, owed json|'', answers json}
-- Result    one item each: 1 published, 0 a duplicate
local replies = {}
for n = 3, #ARGV do
  local id, kind, document, blob, owed, answers = unpack(cmsgpack.unpack(ARGV[n]))
  local key = event_key(id)
  if redis.call('EXISTS', key) == 1 then
    replies[#replies + 1] = 0
  else
    redis.call('HSET', key, 'type', kind, 'document', document, 'owed', owed, 'answers', answers, 'published_ms', now)
    if blob then redis.call('HSET', key, 'blob', blob) end
    redis.call('PEXPIRE', key, ARGV[1])
    redis.call('ZADD', index, now, id)
    if owed ~= '' then redis.call('XADD', outbox, '*', 'event', id) end
    replies[#replies + 1] = 1
  end
end
redis.call('ZREMRANGEBYSCORE', index, '-inf', now - ARGV[1])
redis.call('ZREMRANGEBYRANK', index, 0, -1 - ARGV[2])
redis.call('PEXPIRE', index, ARGV[1])
return replies
