-- given: {{account, bucket}, ...}.
local writers = redis.call('SMEMBERS', base .. 'writers')
for _, each in ipairs(given) do
  local account = each[1]
  for _, bucket in ipairs(redis.call('HKEYS', base .. 'sums:' .. account)) do
    if earlier(bucket, each[2]) then
      for _, holder in ipairs(writers) do
        redis.call('HDEL', base .. 'rows:' .. holder, field(account, bucket))
      end
      redis.call('HDEL', base .. 'sums:' .. account, bucket)
    end
  end
  if redis.call('EXISTS', base .. 'sums:' .. account) == 0 then
    redis.call('SREM', base .. 'accounts', account)
  end
end
