-- Accept invocations: the dedupe key, the record and the queue entry of each are written together.
-- ARGV[1]   most entries kept in an index
-- ARGV[2]   milliseconds an index entry is kept
-- ARGV[3…]  one msgpack array each: {id, function, version, event, blob|false, dedupe digest|'', fingerprint,
--           dedupe ttl ms, delay ms, at ms (0: none), watch 0|1, key, {name, value, …} further fields,
--           cache digest|'', cache ttl ms}
-- Result    one item each: 1 accepted · {'duplicate', id} same key and fingerprint · {'conflict', id} other fingerprint ·
--           {'cached', id} a twin with the same arguments runs, or has succeeded within the cache's time
-- Safe to send again: an id that is already there counts as accepted.
local replies = {}
local touched = {}
for n = 3, #ARGV do
  local id, name, version, event, blob, digest, fingerprint, dedupe_ms, delay, at, watch, key, more, cache, cache_ms =
    unpack(cmsgpack.unpack(ARGV[n]))
  local record = record_key(id)
  local other
  if digest ~= '' then
    other = redis.call('GET', dedupe_key(digest))
  end
  local other_id, other_print
  if other then other_id, other_print = string.match(other, '^(%S+) (%S*)$') end
  local twin = cache ~= '' and redis.call('GET', cache_key(cache))
  if twin then
    local twin_status = redis.call('HGET', record_key(twin), 'status')
    if not twin_status or twin_status == 'failed' or twin_status == 'cancelled' then twin = false end
  end
  if other and other_id ~= id then
    replies[#replies + 1] = {other_print == fingerprint and 'duplicate' or 'conflict', other_id}
  elseif redis.call('EXISTS', record) == 1 then
    replies[#replies + 1] = 1
  elseif twin then
    if digest ~= '' then redis.call('SET', dedupe_key(digest), twin .. ' ' .. fingerprint, 'PX', dedupe_ms) end
    replies[#replies + 1] = {'cached', twin}
  else
    local due_ms = at > 0 and at or (delay > 0 and now + delay or 0)
    local waits = due_ms > now
    redis.call('HSET', record, 'status', waits and 'scheduled' or 'queued', 'function', name, 'version', version,
      'event', event, 'key', key, 'accepted_ms', now, 'due_ms', waits and due_ms or now, unpack(more))
    if blob then redis.call('HSET', record, 'blob', blob) end
    if watch == 1 then redis.call('HSET', record, 'watch', '1') end
    if digest ~= '' then
      redis.call('SET', dedupe_key(digest), id .. ' ' .. fingerprint, 'PX', dedupe_ms)
    end
    if cache ~= '' then redis.call('SET', cache_key(cache), id, 'PX', cache_ms) end
    if waits then wait_until(id, due_ms) else redis.call('XADD', stream, '*', 'id', id) end
    redis.call('ZADD', index, now, id)
    redis.call('ZADD', index_key(name), now, id)
    touched[name] = true
    replies[#replies + 1] = 1
  end
end
local function trim(key)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - ARGV[2])
  redis.call('ZREMRANGEBYRANK', key, 0, -1 - ARGV[1])
  redis.call('PEXPIRE', key, ARGV[2])
end
for name in pairs(touched) do trim(index_key(name)) end
if next(touched) then trim(index) end
return replies
