-- given: nil, or {account, ...}. Returns {{account, bucket, holder, amount}, ...}, the last a string.
local found = {}
local function add(account, bucket, holder, amount)
  found[#found + 1] = {account, bucket, holder, amount}
end
for _, holder in ipairs(redis.call('SMEMBERS', base .. 'writers')) do
  local rows = base .. 'rows:' .. holder
  if given then
    for _, account in ipairs(given) do
      for _, bucket in ipairs(redis.call('HKEYS', base .. 'sums:' .. account)) do
        local amount = redis.call('HGET', rows, field(account, bucket))
        if amount then
          add(account, bucket, holder, amount)
        end
      end
    end
  else
    local all = redis.call('HGETALL', rows)
    for i = 1, #all, 2 do
      local bucket, account = string.match(all[i], '^(%S+) (.*)$')
      add(account, bucket, holder, all[i + 1])
    end
  end
end
return cmsgpack.pack(found)
