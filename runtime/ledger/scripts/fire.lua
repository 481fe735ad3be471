-- Decide the due slots of one schedule: each is accepted once, kept waiting, or listed as missed.
-- The high-water mark is the last slot decided; whatever is not above it is over, so any number of schedulers may ask.
-- ARGV[1]  schedule id
-- ARGV[2]  the mark that the caller last saw, ms (0: it has seen none): taken where the schedule has no mark
-- ARGV[3]  msgpack array: {function, version, catch up, most caught up, overlap, grace ms, most index entries, index ms,
--          most missed listed, most fires listed, most waiting, state kept ms, candidate's version|'', its share in percent}
-- ARGV[4]  how many slots above the mark are older than all that follow, and not worth a row
-- ARGV[5]  a salt, taken where the queue has none
-- ARGV[6…] one msgpack array each, in order of the slots: {slot ms, due ms, id, key, event, place 0–99} or {slot ms} for what is
--          surely late; slot 0: fire now, whatever the mark says
-- Result   {mark, now, paused 0|1, waiting, id of the last one, accepted, missed}
-- Safe to send again: what was decided stays decided.
local schedule, seen = ARGV[1], tonumber(ARGV[2])
local name, version, catch_up, most_late, overlap, grace, index_entries, index_ms, most_missed, most_fires, most_waiting, kept_ms,
  candidate, share = unpack(cmsgpack.unpack(ARGV[3]))
local state = base .. ':cron:' .. schedule
local fires_key, missed_key, waiting_key = state .. ':fires', state .. ':missed', state .. ':waiting'
local mark, is_paused, last = unpack(redis.call('HMGET', state, 'mark', 'paused', 'last'))
redis.call('SET', base .. ':salt', ARGV[5], 'NX')
local salt = redis.call('GET', base .. ':salt')
local accepted, missed = 0, 0

local function text(number) return string.format('%.0f', number) end

local function is_busy()
  local status = last and redis.call('HGET', record_key(last), 'status')
  return status and status ~= 'succeeded' and status ~= 'failed' and status ~= 'cancelled'
end

local function miss(slot, reason)
  redis.call('LPUSH', missed_key, text(slot) .. ' ' .. reason)
  missed = missed + 1
end

-- An id is a key to the result, and that of a slot could be worked out: its last 80 bits are mixed with the queue's salt.
local function salted(id)
  local digest, coded = redis.sha1hex(salt .. ' ' .. id), {}
  for n = 1, 20, 5 do
    local bits = tonumber(string.sub(digest, n, n + 4), 16)
    for shift = 15, 0, -5 do
      local digit = math.floor(bits / 2 ^ shift) % 32 + 1
      coded[#coded + 1] = string.sub('0123456789abcdefghjkmnpqrstvwxyz', digit, digit)
    end
  end
  return string.sub(id, 1, -17) .. table.concat(coded)
end

-- As accept.lua writes an invocation. The id belongs to the slot: a record that is there was made for it before.
local function accept(row)
  local slot, due_ms, id, key, event, place = unpack(row)
  if slot > 0 then id = salted(id) end
  local record = record_key(id)
  if redis.call('EXISTS', record) == 1 then return end
  local waits = due_ms > now
  redis.call('HSET', record, 'status', waits and 'scheduled' or 'queued', 'function', name,
    'version', place < share and candidate or version, 'event', event, 'key', key, 'accepted_ms', now,
    'due_ms', waits and due_ms or now, 'caller', 'cron')
  if waits then wait_until(id, due_ms) else redis.call('XADD', stream, '*', 'id', id) end
  for _, entries in ipairs({index, index_key(name)}) do
    redis.call('ZADD', entries, now, id)
    redis.call('ZREMRANGEBYSCORE', entries, '-inf', now - index_ms)
    redis.call('ZREMRANGEBYRANK', entries, 0, -1 - index_entries)
    redis.call('PEXPIRE', entries, index_ms)
  end
  redis.call('LPUSH', fires_key, text(slot) .. ' ' .. id .. ' ' .. text(now))
  accepted = accepted + 1
  if slot > 0 then
    last = id
    redis.call('HSET', state, 'last', id)
  end
end

local function take(row, packed)
  if overlap == 'allow' or not is_busy() then
    accept(row)
  elseif overlap == 'queue' and redis.call('LLEN', waiting_key) < most_waiting then
    redis.call('RPUSH', waiting_key, packed)
  else
    miss(row[1], 'overlap')
  end
end

-- What waited for the one before it goes first.
while not is_paused and redis.call('LLEN', waiting_key) > 0 and (overlap == 'allow' or not is_busy()) do
  -- Out of memory lets a list shrink but no record be written: the slot leaves the list last.
  accept(cmsgpack.unpack(redis.call('LINDEX', waiting_key, 0)))
  redis.call('LPOP', waiting_key)
end

local rows, late = {}, 0
mark = tonumber(mark) or (seen > 0 and seen) or now
local is_as_seen = mark == seen
for n = 6, #ARGV do
  local row = cmsgpack.unpack(ARGV[n])
  if row[1] == 0 then
    accept(row)
  elseif row[1] > mark and row[1] <= now then
    rows[#rows + 1] = {row, ARGV[n]}
    if row[1] < now - grace then late = late + 1 end
  end
end
local caught_up = 0
if catch_up == 'all' then caught_up = math.min(late, most_late) end
if catch_up == 'latest' and late > 0 and late == #rows then caught_up = 1 end
for n, item in ipairs(rows) do
  local row, packed = unpack(item)
  if is_paused then
    miss(row[1], 'paused')
  elseif n <= late - caught_up or not row[2] then
    miss(row[1], 'late')
  else
    take(row, packed)
  end
  mark = row[1]
end
-- Else another scheduler has counted them.
if #rows > 0 and is_as_seen then missed = missed + tonumber(ARGV[4]) end

redis.call('HSET', state, 'mark', text(mark))
if accepted > 0 then redis.call('HINCRBY', state, 'fired', accepted) end
if missed > 0 then redis.call('HINCRBY', state, 'missed', missed) end
redis.call('LTRIM', fires_key, 0, most_fires - 1)
redis.call('LTRIM', missed_key, 0, most_missed - 1)
for _, key in ipairs({state, fires_key, missed_key, waiting_key}) do redis.call('PEXPIRE', key, kept_ms) end
redis.call('SADD', base .. ':cron', schedule)
return {mark, now, is_paused and 1 or 0, redis.call('LLEN', waiting_key), last or '', accepted, missed}
