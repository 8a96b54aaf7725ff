-- given: holder, turn, host, {{account, bucket, amount}, ...}.
local holder, turn, host = given[1], given[2], given[3]
local ended = redis.call('ZSCORE', base .. 'gone', holder)
if ended and turn <= tonumber(ended) then
  return
end
begin()
local known = redis.call('HGET', base .. 'holders', holder)
local last = known and tonumber(string.match(known, '^%d+ (%d+) ')) or 0
for _, each in ipairs(given[4]) do
  local before = row(holder, each[1], each[2])
  -- A call that was held up on its way and overtaken by a later one does not know what that was granted: it lowers nothing.
  if turn >= last or each[3] > before then
    put(holder, each[1], each[2], before, each[3])
  end
end
redis.call('HSET', base .. 'holders', holder, micros() .. '000 ' .. whole(math.max(turn, last)) .. ' ' .. host)
redis.call('ZREM', base .. 'gone', holder)
