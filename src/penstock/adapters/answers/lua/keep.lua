-- ARGV[2...]: the number of the log that the state is of, or 0 for any; name, place, state. Gives: the log's number, its last place.
local number, last = begun(), held('last')
if (ARGV[2] == '0' or tonumber(ARGV[2]) == number) and tonumber(ARGV[4]) <= last then
  local known = redis.call('HGET', states, ARGV[3])
  if not known or tonumber(string.match(known, '^%d+')) <= tonumber(ARGV[4]) then
    redis.call('HSET', states, ARGV[3], ARGV[4] .. ' ' .. ARGV[5])
    count()
  end
end
return {number, last}
