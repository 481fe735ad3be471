-- Take over stream entries that a publisher has read, and not removed in time: it is gone, or its message was not confirmed.
-- ARGV[1]  consumer name
-- ARGV[2]  ms that must have passed since
-- ARGV[3]  most entries
-- ARGV[4]  most times a worker may be lost under one invocation before it is failed
-- ARGV[5]  retention of failed invocations, ms
-- Result   {{entry, id|''}, …}
local taken, cursor, take = {}, '0', tonumber(ARGV[3])
while take > 0 do
  local stale = redis.call('XAUTOCLAIM', stream, group, ARGV[1], ARGV[2], cursor, 'COUNT', take)
  for _, item in ipairs(stale[2]) do
    local entry, id = item[1], item[2] and item[2][1] == 'id' and item[2][2] or ''
    local status, current, attempt, started, watched =
      unpack(redis.call('HMGET', record_key(id), 'status', 'entry', 'attempt', 'started_ms', 'watch'))
    if status == 'running' and current == entry then
      -- It ran when Redis carried this queue, and its worker is gone.
      if charge_loss(id, attempt, started, watched, tonumber(ARGV[4]), ARGV[5]) then wait_again(id, watched) end
    end
    taken[#taken + 1] = {entry, id}
  end
  cursor, take = stale[1], stale[1] == '0-0' and 0 or take - #stale[2]
end
return taken
