-- given: account, {{bucket, amount}, ...}.
local account, beside, amounts = given[1], 'beside', {}
for _, each in ipairs(given[2]) do
  amounts[each[1]] = each[2]
end
for _, bucket in ipairs(redis.call('HKEYS', base .. 'sums:' .. account)) do
  if not amounts[bucket] then
    put(beside, account, bucket, row(beside, account, bucket), 0)
  end
end
for bucket, amount in pairs(amounts) do
  put(beside, account, bucket, row(beside, account, bucket), amount)
end
