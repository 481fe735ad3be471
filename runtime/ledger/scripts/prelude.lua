-- Shared by every script: the keys of one queue, the clock, and the way to tell watchers.
-- KEYS[1] is the queue's base key, "oncue:{<queue>}"; its hash tag keeps all keys of a queue in one slot.
-- runtime/ledger/keys.py builds the same names for reads; tests/ledger/test_keys.py holds the two together.
local base = KEYS[1]
local stream, due, index, dead = base .. ':stream', base .. ':due', base .. ':index', base .. ':dead'
local wake, news, orders = base .. ':wake', base .. ':news', base .. ':orders'
local parked, outbox, group = base .. ':parked', base .. ':outbox', 'workers'
local callbacks, leases = base .. ':callbacks', base .. ':leases'

local function record_key(id) return base .. ':inv:' .. id end
local function output_key(id) return base .. ':out:' .. id end
local function result_key(id) return base .. ':res:' .. id end
local function dedupe_key(digest) return base .. ':key:' .. digest end
local function cache_key(digest) return base .. ':cache:' .. digest end
local function event_key(id) return base .. ':event:' .. id end
local function index_key(name) return index .. ':' .. name end

-- Redis TIME is the only clock: milliseconds since 1970.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function drop_entry(entry)
  if entry and entry ~= '' then
    redis.call('XACK', stream, group, entry)
    redis.call('XDEL', stream, entry)
  end
end

-- Drop several at once; Lua passes some thousands of arguments, and batches are of hundreds.
local function drop_entries(entries)
  if #entries > 0 then
    redis.call('XACK', stream, group, unpack(entries))
    redis.call('XDEL', stream, unpack(entries))
  end
end

-- End a claim's hold on the queue: its stream entry, or its lease when another carrier delivered it.
local function release(id, entry)
  if entry == '' then redis.call('ZREM', leases, id) else drop_entry(entry) end
end

local function tell(id, watched)
  if watched then redis.call('PUBLISH', news, id) end
end

-- Put an invocation into the sorted set of what waits; wake the promoter when it is now the earliest.
local function wait_until(id, due_ms)
  local head = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
  redis.call('ZADD', due, due_ms, id)
  if not head[2] or tonumber(head[2]) > due_ms then
    redis.call('LPUSH', wake, '1')
    redis.call('LTRIM', wake, 0, 0)
  end
end

local function append_output(id, frames, ttl_ms)
  local key = output_key(id)
  for _, frame in ipairs(frames) do
    redis.call('XADD', key, 'MAXLEN', '~', 1000, '*', 'frame', frame)
  end
  if #frames > 0 then redis.call('PEXPIRE', key, ttl_ms) end
end

-- Have an end told to the URL that came with the invocation; its record stays for as long as that may take (two days).
local function call_back(id, url)
  if url then
    redis.call('ZADD', callbacks, now, id)
    redis.call('PEXPIRE', record_key(id), 172800000, 'GT')
    redis.call('PUBLISH', news, 'callbacks')
  end
end

-- End as cancelled what does not run, or runs no more; `message` says which.
local function cancel_now(id, watched, message)
  local key = record_key(id)
  redis.call('HSET', key, 'status', 'cancelled', 'ended_ms', now,
    'error', cjson.encode({kind = 'cancelled', type = 'Cancelled', message = message}))
  redis.call('PEXPIRE', key, 86400000)
  call_back(id, redis.call('HGET', key, 'callback'))
  tell(id, watched)
end

-- A failed invocation stays until retention, with what its attempts have said; the set lists the failed ones by time.
local function bury(id, error_json, retention_ms)
  local key = record_key(id)
  redis.call('HSET', key, 'status', 'failed', 'ended_ms', now, 'error', error_json)
  redis.call('PEXPIRE', key, retention_ms)
  redis.call('PEXPIRE', output_key(id), retention_ms)
  call_back(id, redis.call('HGET', key, 'callback'))
  redis.call('ZADD', dead, now, id)
  redis.call('ZREMRANGEBYSCORE', dead, '-inf', now - retention_ms)
end

-- Have what ran wait again. The fence is raised: what its worker still says about the attempt is refused.
local function wait_again(id, watched)
  local key = record_key(id)
  redis.call('HSET', key, 'status', 'queued')
  redis.call('HINCRBY', key, 'fence', 1)
  redis.call('HDEL', key, 'entry', 'worker', 'started_ms')
  tell(id, watched)
end

-- Charge a running invocation with the loss of its worker, and fail it when that was once too often.
-- Returns how often a worker was lost, or nil when it is over: failed, or cancelled as somebody wished while it ran.
local function charge_loss(id, attempt, started, watched, most_lost, retention_ms)
  local key = record_key(id)
  local lost = redis.call('HINCRBY', key, 'lost', 1)
  redis.call('HSET', key, 'a' .. attempt, cjson.encode({started_ms = tonumber(started), ended_ms = now, outcome = 'lost',
    error = {kind = 'lost', type = 'WorkerLost', message = 'the worker that ran this attempt is gone'}}))
  if redis.call('HEXISTS', key, 'cancel') == 1 then
    return cancel_now(id, watched, 'it was cancelled while it ran, and its worker is gone')
  end
  if lost < most_lost then return lost end
  bury(id, cjson.encode({kind = 'lost', type = 'WorkerLost',
    message = 'the worker was lost ' .. lost .. ' times while this ran; look at what it does to its host'}), retention_ms)
  tell(id, watched)
end
