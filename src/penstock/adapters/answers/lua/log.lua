-- The log and its answers in one Redis database, as every script sees them.
--   meta     hash: `number` (of the log), `run` (the life of the server), `last` (place), `bytes`, and how much of the others there must be
--   log      stream: "<place>-0" -> b: the event
--   entries  hash: entry -> "<place> <bytes> <digest>" of its event
--   vouched  hash: entry -> the same of what was last vouched for it
--   bodies   hash: entry -> its answer
--   digests  hash: digest -> place, of every event in the log
--   others   sorted set by place: "<place> <at_ns> <digest>" of events that are of no entry
--   states   hash: name -> "<place> <state>"
-- ARGV[1] is the number of a new log, should there have to be one. Times are strings: a double does not hold nanoseconds of our days.
local meta, log, entries, vouched, bodies, digests, others, states = unpack(KEYS)
local counted = {
  {'log', 'XLEN', log}, {'entries', 'HLEN', entries}, {'vouched', 'HLEN', vouched}, {'bodies', 'HLEN', bodies},
  {'digests', 'HLEN', digests}, {'others', 'ZCARD', others}, {'states', 'HLEN', states},
}

local function whole(number)
  return string.format('%.0f', number)
end

local function held(name)
  return tonumber(redis.call('HGET', meta, name) or 0)
end

-- To be called after every change.
local function count()
  for _, each in ipairs(counted) do
    redis.call('HSET', meta, each[1], redis.call(each[2], each[3]))
  end
end

-- The number of the log; 0: there is none. A server whose memory is full may have dropped some of it: what is left is then no log. One that
-- has started again may have come back without its last seconds, and would give their places once more: it is another log from there on.
local function begun()
  local complete, run = true, string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  for _, each in ipairs(counted) do
    complete = complete and held(each[1]) == redis.call(each[2], each[3])
  end
  if not complete then
    redis.call('DEL', unpack(KEYS))
  elseif redis.call('EXISTS', meta) == 1 and redis.call('HGET', meta, 'run') ~= run then
    redis.call('HSET', meta, 'number', ARGV[1], 'run', run)
  end
  return held('number')
end

local function begin()
  if begun() == 0 then
    local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
    redis.call('HSET', meta, 'number', ARGV[1], 'run', run, 'last', 0, 'bytes', 0)
  end
end

local function earlier(one, other)
  return #one < #other or (#one == #other and one < other)
end

-- Takes the event of an entry out that is listed in `of`.
local function forget(of, entry)
  local known = redis.call('HGET', of, entry)
  if known then
    local place, bytes, digest = string.match(known, '^(%d+) (%d+) (%w+)$')
    redis.call('XDEL', log, place .. '-0')
    redis.call('HDEL', digests, digest)
    redis.call('HDEL', of, entry)
    redis.call('HINCRBY', meta, 'bytes', whole(0 - bytes))
  end
end

local function forget_answer(entry)
  redis.call('HINCRBY', meta, 'bytes', whole(0 - redis.call('HSTRLEN', bodies, entry)))
  redis.call('HDEL', bodies, entry)
end
