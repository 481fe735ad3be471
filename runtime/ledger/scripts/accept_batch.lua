-- Accept one invocation for a batch of messages, each under a dedupe key of its own; all of it is written, or nothing.
-- ARGV[1]  most entries kept in an index
-- ARGV[2]  milliseconds an index entry is kept
-- ARGV[3]  dedupe ttl ms
-- ARGV[4]  msgpack array: {id, function, version, event, key}
-- ARGV[5…] the dedupe digest of each message, or '' for one that has none
-- Result   positions, from 0, of the messages that were accepted before; nothing is written then. Empty: accepted
-- Safe to send again: an id that is already there counts as accepted.
local id, name, version, event, key = unpack(cmsgpack.unpack(ARGV[4]))
local record = record_key(id)
if redis.call('EXISTS', record) == 1 then return {} end
local known = {}
for n = 5, #ARGV do
  if ARGV[n] ~= '' and redis.call('EXISTS', dedupe_key(ARGV[n])) == 1 then known[#known + 1] = n - 5 end
end
if #known > 0 then return known end
for n = 5, #ARGV do
  if ARGV[n] ~= '' then redis.call('SET', dedupe_key(ARGV[n]), id .. ' ', 'PX', ARGV[3]) end
end
redis.call('HSET', record, 'status', 'queued', 'function', name, 'version', version, 'event', event, 'key', key,
  'accepted_ms', now, 'due_ms', now)
redis.call('XADD', stream, '*', 'id', id)
for _, entries in ipairs({index, index_key(name)}) do
  redis.call('ZADD', entries, now, id)
  redis.call('ZREMRANGEBYSCORE', entries, '-inf', now - ARGV[2])
  redis.call('ZREMRANGEBYRANK', entries, 0, -1 - ARGV[1])
  redis.call('PEXPIRE', entries, ARGV[2])
end
return {}
