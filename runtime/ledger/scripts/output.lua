-- Append output frames (log lines, progress) of a running attempt to its capped stream.
-- ARGV[1]  id
-- ARGV[2]  fence
-- ARGV[3]  ttl of the stream, ms
-- ARGV[4]  newest progress json, or ''
-- ARGV[5…] frames, json
-- Result   1, or 0 when the attempt is no longer this worker's
local id = ARGV[1]
local key = record_key(id)
local status, fence, watched = unpack(redis.call('HMGET', key, 'status', 'fence', 'watch'))
if status ~= 'running' or fence ~= ARGV[2] then return 0 end
local frames = {}
for n = 5, #ARGV do frames[#frames + 1] = ARGV[n] end
append_output(id, frames, ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', key, 'progress', ARGV[4]) end
tell(id, watched)
return 1
