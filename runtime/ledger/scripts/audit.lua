-- Append to the audit.
-- ARGV[1]   most stream entries kept
-- ARGV[2…]  several JSON documents each, a line for each one; together in one stream entry they cost a tenth
-- Result    how many were written
for n = 2, #ARGV do redis.call('XADD', base .. ':audit', 'MAXLEN', '~', ARGV[1], '*', 'entry', ARGV[n]) end
return #ARGV - 1
