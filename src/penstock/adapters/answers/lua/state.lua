-- ARGV[2]: name. Gives: the log's number, place and state.
local number = begun()
return {number, redis.call('HGET', states, ARGV[2])}
