-- The book in one Redis database, as every script sees it. KEYS[1] begins all of its keys, ARGV[1] is packed by msgpack.
--   <base>          hash: `born` (unix ns), `run` (the life of the server that it was begun in)
--   <base>holders   hash: name -> "<seen_ns> <turn> <host>"
--   <base>gone      sorted set: holders that have ended, by the turn of their end
--   <base>writers   set: holders that have a row, known or not
--   <base>rows:<h>  hash: "<bucket> <account>" -> amount
--   <base>accounts  set: accounts that have a row
--   <base>sums:<a>  hash: bucket -> sum of all rows
--   <base>opened    hash: account -> unix ns
-- A turn is a number that grows from call to call of a holder. Buckets are strings: a double does not hold nanoseconds of our days.
local base = KEYS[1]
local given = cmsgpack.unpack(ARGV[1])

local function whole(number)
  return string.format('%.0f', number)
end

local function micros()
  local now = redis.call('TIME')
  return now[1] .. string.format('%06d', now[2])
end

-- Whether one bucket is before another, exactly.
local function earlier(one, other)
  return #one < #other or (#one == #other and one < other)
end

local function field(account, bucket)
  return bucket .. ' ' .. account
end

local function row(holder, account, bucket)
  return tonumber(redis.call('HGET', base .. 'rows:' .. holder, field(account, bucket)) or 0)
end

-- The sum of a bucket is 0: nobody may have a row in it any longer.
local function tidy(account, bucket)
  for _, holder in ipairs(redis.call('SMEMBERS', base .. 'writers')) do
    if redis.call('HEXISTS', base .. 'rows:' .. holder, field(account, bucket)) == 1 then
      return
    end
  end
  redis.call('HDEL', base .. 'sums:' .. account, bucket)
  if redis.call('EXISTS', base .. 'sums:' .. account) == 0 then
    redis.call('SREM', base .. 'accounts', account)
  end
end

-- Sets a row that was `before` to `amount`.
local function put(holder, account, bucket, before, amount)
  if amount == before then
    return
  end
  local rows = base .. 'rows:' .. holder
  if amount == 0 then
    redis.call('HDEL', rows, field(account, bucket))
  elseif redis.call('HSET', rows, field(account, bucket), whole(amount)) == 1 then
    redis.call('SADD', base .. 'writers', holder)
  end
  local sum = redis.call('HINCRBY', base .. 'sums:' .. account, bucket, whole(amount - before))
  if sum == 0 then
    tidy(account, bucket)
  elseif sum == amount - before then
    redis.call('SADD', base .. 'accounts', account)
  end
end

local function begin()
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local known = redis.call('HGET', base, 'run')
  if known and known ~= run then
    for _, holder in ipairs(redis.call('SMEMBERS', base .. 'writers')) do
      redis.call('DEL', base .. 'rows:' .. holder)
    end
    for _, account in ipairs(redis.call('SMEMBERS', base .. 'accounts')) do
      redis.call('DEL', base .. 'sums:' .. account)
    end
    redis.call('DEL', base, base .. 'holders', base .. 'gone', base .. 'writers', base .. 'accounts', base .. 'opened')
  end
  if redis.call('HSETNX', base, 'run', run) == 1 then
    redis.call('HSET', base, 'born', micros() .. '000')
  end
end
