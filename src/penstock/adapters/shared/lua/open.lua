-- given: account, at_ns (a string), {holder, ...}, {{bucket, amount}, ...}. Returns 1, or 0: other holders live.
local account, ledger, wanted, count = given[1], 'ledger', {}, 0
for _, holder in ipairs(given[3]) do
  if not wanted[holder] then
    wanted[holder] = true
    count = count + 1
  end
end
local living = redis.call('HKEYS', base .. 'holders')
for _, holder in ipairs(living) do
  if not wanted[holder] then
    return 0
  end
end
if #living ~= count then
  return 0
end
begin()
for _, each in ipairs(given[4]) do
  local before = row(ledger, account, each[1])
  -- A holder that has ended since the reading is in the row of the ledger, but not in what was read.
  put(ledger, account, each[1], before, math.max(before, each[2]))
end
redis.call('HSETNX', base .. 'opened', account, given[2])
return 1
