-- Claim what was delivered to a worker: attempt number and fence token are written before the handler starts.
-- The stream's own pending list leases its entries; what another carrier delivered has the entry '', and a lease in a set.
-- ARGV[1]   consumer name
-- ARGV[2]   lease ms
-- ARGV[3]   most stale entries to take over from dead workers (0: none)
-- ARGV[4]   most times a worker may be lost under one invocation before it is failed
-- ARGV[5]   retention of failed invocations, ms
-- ARGV[6]   most entries to read from the stream here and now (0: none)
-- ARGV[7…]  entry, id, entry, id, … as delivered by XREADGROUP ('' as the id of an entry that is none of ours), or '', id
-- Result    {{entry, id, attempt, fence, lost, deaths, function, version, key, event, blob|false, trace|false, accepted_ms}, …}
local consumer, lease, take, most_lost, retention = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local claims = {}

local function park(entry, fields, reason)
  if not fields then
    local found = entry ~= '' and redis.call('XRANGE', stream, entry, entry) or {}
    fields = found[1] and found[1][2] or {}
  end
  -- Enough to tell what it was; a thousand of any size must not fill the memory.
  local kept = {}
  for n = 1, math.min(#fields, 20) do kept[n] = string.sub(fields[n], 1, 200) end
  redis.call('XADD', parked, 'MAXLEN', '~', 1000, '*', 'entry', entry, 'fields', cjson.encode(kept), 'reason', reason)
  drop_entry(entry)
end

local function claim(entry, id, fields, is_takeover)
  if id == '' or #id > 200 then return park(entry, fields, 'no invocation id') end
  local key = record_key(id)
  local fetched = redis.pcall('HMGET', key, 'status', 'attempt', 'fence', 'lost', 'deaths', 'function', 'version', 'key', 'event',
    'blob', 'trace', 'watch', 'entry', 'started_ms', 'accepted_ms')
  if fetched.err then return park(entry, fields, fetched.err) end
  local status, attempt, fence, lost, deaths, name, version, idempotency_key, event, blob, trace, watched, current, started, accepted =
    unpack(fetched)
  if not status then return park(entry, fields, 'no such invocation') end
  -- One such row would spoil the reply, and with it the claims of its neighbours.
  attempt, fence, accepted = tonumber(attempt or 0), tonumber(fence or 0), tonumber(accepted or '')
  lost, deaths = tonumber(lost or 0), tonumber(deaths or 0)
  if not (name and version and idempotency_key and event and accepted and attempt and fence and lost and deaths) then
    return park(entry, fields, 'its record is incomplete')
  end
  if status == 'running' then
    if current ~= entry then return drop_entry(entry) end
    -- Only a takeover means that its worker is gone; else another worker took over what was delivered to us.
    if not is_takeover then return end
    lost = charge_loss(id, attempt, started, watched, most_lost, retention)
    if not lost then return drop_entry(entry) end
  elseif status ~= 'queued' then
    return drop_entry(entry)
  end
  attempt, fence = attempt + 1, fence + 1
  redis.call('HSET', key, 'status', 'running', 'attempt', attempt, 'fence', fence, 'started_ms', now, 'worker', consumer,
    'entry', entry)
  if entry == '' then redis.call('ZADD', leases, now + lease, id) end
  tell(id, watched)
  claims[#claims + 1] = {entry, id, attempt, fence, lost, deaths, name, version, idempotency_key, event, blob, trace, accepted}
end

local function id_of(fields) return fields and fields[1] == 'id' and fields[2] or '' end

for n = 7, #ARGV, 2 do
  local entry = ARGV[n]
  -- Delivered before an outage, it may have run elsewhere since and wait again, under another entry: this one is void.
  if entry == '' or #redis.call('XPENDING', stream, group, entry, entry, 1) > 0 then
    claim(entry, ARGV[n + 1], entry == '' and {'id', ARGV[n + 1]} or nil, false)
  end
end
if tonumber(ARGV[6]) > 0 then
  local read = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', ARGV[6], 'STREAMS', stream, '>')
  for _, item in ipairs(read and read[1][2] or {}) do claim(item[1], id_of(item[2]), item[2], false) end
end
-- XAUTOCLAIM looks at ten entries for each one wanted, so entries with a lease may hide the stale ones behind them.
local cursor = '0'
while take > 0 do
  local stale = redis.call('XAUTOCLAIM', stream, group, consumer, lease, cursor, 'COUNT', take)
  for _, item in ipairs(stale[2]) do
    claim(item[1], id_of(item[2]), item[2], true)
  end
  cursor, take = stale[1], stale[1] == '0-0' and 0 or take - #stale[2]
end
return claims
