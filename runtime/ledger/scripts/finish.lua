-- Finish attempts. Refused unless the fence token still matches, so that a worker that was given up for lost
-- (a zombie) changes nothing.
-- ARGV[1]   retention of failed invocations, ms
-- ARGV[2]   child deaths after which an invocation is failed
-- ARGV[3…]  one msgpack array each: {id, fence, entry, outcome, died 0|1, retry in ms, error json|'', attempt json object,
--           result meta json|'', result body|'', result ttl ms, record ttl ms, {output frame json, …}, {follow-up json, …}}
--           outcome: succeeded | retrying | failed | cancelled
-- Result    one item each: the outcome written, or 'stale'
local retention, most_deaths = ARGV[1], tonumber(ARGV[2])
local replies = {}
-- What is written once for the whole batch.
local entries, stats, versions = {}, {}, {}

local function count(counts, field) counts[field] = (counts[field] or 0) + 1 end

local function finish_all()
  for n = 3, #ARGV do
    local id, fence, entry, outcome, died, retry_in, error_json, attempt_json, meta, body, result_ms, record_ms, frames, follow_ups =
      unpack(cmsgpack.unpack(ARGV[n]))
    local key = record_key(id)
    local status, current, attempt, watched, deaths, name, started, cancel, version, callback, next_link =
      unpack(redis.call('HMGET', key, 'status', 'fence', 'attempt', 'watch', 'deaths', 'function', 'started_ms', 'cancel',
        'version', 'callback', 'then'))
    if status ~= 'running' or tonumber(current) ~= fence then
      replies[#replies + 1] = 'stale'
    else
      if died == 1 then
        deaths = tonumber(deaths or 0) + 1
        redis.call('HSET', key, 'deaths', deaths)
        if deaths >= most_deaths and outcome == 'retrying' then outcome = 'failed' end
      end
      if cancel and outcome == 'retrying' then outcome = 'cancelled' end
      local kept = '{"started_ms":' .. started .. ',"ended_ms":' .. string.format('%.0f', now) .. ',' .. string.sub(attempt_json, 2)
      append_output(id, frames, (outcome == 'failed' or outcome == 'retrying') and retention or record_ms)
      if entry == '' then release(id, entry) end
      if outcome == 'succeeded' then
        redis.call('HSET', key, 'a' .. attempt, kept, 'status', 'succeeded', 'ended_ms', now, 'result', meta,
          'result_until_ms', now + result_ms)
        -- Only an earlier attempt can have left one.
        if error_json == '' and attempt ~= '1' then redis.call('HDEL', key, 'error') end
        if body ~= '' then redis.call('SET', result_key(id), body, 'PX', result_ms) end
        for _, follow_up in ipairs(follow_ups) do
          redis.call('XADD', outbox, '*', 'parent', id, 'follow_up', follow_up)
        end
        if next_link then redis.call('XADD', outbox, '*', 'parent', id, 'follow_up', next_link) end
        redis.call('PEXPIRE', key, record_ms)
        call_back(id, callback)
      elseif outcome == 'retrying' then
        redis.call('HSET', key, 'a' .. attempt, kept, 'status', 'retrying', 'error', error_json, 'due_ms', now + retry_in)
        wait_until(id, now + retry_in)
      elseif outcome == 'cancelled' then
        redis.call('HSET', key, 'a' .. attempt, kept, 'status', 'cancelled', 'ended_ms', now, 'error', error_json)
        redis.call('PEXPIRE', key, record_ms)
        call_back(id, callback)
      else
        redis.call('HSET', key, 'a' .. attempt, kept)
        bury(id, error_json, retention)
      end
      if entry ~= '' then entries[#entries + 1] = entry end
      count(stats, name .. ' ' .. outcome)
      count(versions, version .. ' ' .. outcome)
      tell(id, watched)
      replies[#replies + 1] = outcome
    end
  end
end

-- One that cannot be written ends the batch, and its neighbours come again alone: what is finished by now is counted now.
local is_done, problem = pcall(finish_all)
drop_entries(entries)
for field, n in pairs(stats) do redis.call('HINCRBY', base .. ':stats', field, n) end
for field, n in pairs(versions) do redis.call('HINCRBY', base .. ':versions', field, n) end
-- Returned, for `error` would put a word before its code; Redis has a table here, Valkey 9 a string.
if not is_done then return type(problem) == 'table' and problem or redis.error_reply(problem) end
return replies
