-- given: holder, turn (0: it died), {{account, bucket, amount}, ...}. Moves a holder into the rows of the ledger, once. Returns 1 or 0.
-- One that leaves may be unknown: the book may be newer than its last call.
local holder, turn, ledger, day = given[1], given[2], 'ledger', 86400 * 1000000
if redis.call('ZSCORE', base .. 'gone', holder) then
  return 0
end
local known = redis.call('HEXISTS', base .. 'holders', holder) == 1 or redis.call('EXISTS', base .. 'rows:' .. holder) == 1
if turn == 0 and not known then
  return 0
end
local rows = redis.call('HGETALL', base .. 'rows:' .. holder)
for i = 1, #rows, 2 do
  local bucket, account = string.match(rows[i], '^(%S+) (.*)$')
  put(holder, account, bucket, tonumber(rows[i + 1]), 0)
end
for _, each in ipairs(given[3]) do
  local before = row(ledger, each[1], each[2])
  put(ledger, each[1], each[2], before, before + each[3])
end
local now = tonumber(micros())
redis.call('HDEL', base .. 'holders', holder)
redis.call('SREM', base .. 'writers', holder)
redis.call('ZADD', base .. 'gone', whole(math.max(turn, now)), holder)
redis.call('ZREMRANGEBYSCORE', base .. 'gone', '-inf', whole(now - day))
return 1
