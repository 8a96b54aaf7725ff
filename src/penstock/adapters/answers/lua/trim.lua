-- ARGV[2...]: the number of the log, the place to begin after, the last place, before_ns, how many to look at. Gives: the log's number, its
-- last place, how many were forgotten, the last one looked at.
local number, gone, reached = begun(), 0, ARGV[4]
local looked = {}
if tonumber(ARGV[2]) == number and tonumber(ARGV[4]) <= held('last') then
  looked = redis.call('ZRANGEBYSCORE', others, '(' .. ARGV[3], ARGV[4], 'LIMIT', 0, ARGV[6])
end
for index, each in ipairs(looked) do
  local place, at_ns, digest = string.match(each, '^(%d+) (%d+) (%w+)$')
  if earlier(at_ns, ARGV[5]) then
    redis.call('XDEL', log, place .. '-0')
    redis.call('HDEL', digests, digest)
    redis.call('ZREM', others, each)
    gone = gone + 1
  end
  if index == tonumber(ARGV[6]) then
    reached = place
  end
end
if gone > 0 then
  count()
end
return {number, held('last'), gone, tonumber(reached)}
