-- given: holder, turn, {{account, bucket, since, limit, kept, need, want, fresh}, ...}, host. Returns {{state, row, left}, ...}.
-- The law is `domain/budgets/grants.py`. A book that was begun anew learns here of a holder that had told its host to the one before:
-- should it die before it tells again, its row still has somebody who settles for it.
local holder, turn, asks, from = given[1], given[2], given[3], given[4]
local fields, accounts = {}, {}
for i, ask in ipairs(asks) do
  fields[i] = field(ask[1], ask[2])
  accounts[i] = ask[1]
end
local rows = redis.call('HMGET', base .. 'rows:' .. holder, unpack(fields))
local opened = redis.call('HMGET', base .. 'opened', unpack(accounts))
local answers, granted = {}, true
for i, ask in ipairs(asks) do
  local total, before = 0, tonumber(rows[i] or 0)
  local sums = redis.call('HGETALL', base .. 'sums:' .. ask[1])
  for j = 1, #sums, 2 do
    if not earlier(sums[j], ask[3]) then
      total = total + tonumber(sums[j + 1])
    end
  end
  local mine = math.max(before, ask[5])
  local left = ask[4] - total - (mine - before)
  local missing = ask[5] + ask[6] - mine
  local state = 'granted'
  if not (ask[8] or opened[i]) then
    state = 'closed'
  elseif missing > 0 and missing > left then
    state = 'full'
  end
  granted = granted and state == 'granted'
  rows[i] = before
  answers[i] = {state, mine, left}
end
for i, ask in ipairs(asks) do
  local answer, floor = answers[i], ask[5] + ask[6]
  if granted and floor > answer[2] then
    local mine = math.max(floor, math.min(ask[5] + ask[7], answer[2] + math.floor(answer[3] / 8)))
    answer[3] = answer[3] - (mine - answer[2])
    answer[2] = mine
  end
  put(holder, ask[1], ask[2], rows[i], answer[2])
end
local known = redis.call('HGET', base .. 'holders', holder)
if known then
  local last, host = string.match(known, '^%d+ (%d+) (.*)$')
  redis.call('HSET', base .. 'holders', holder, micros() .. '000 ' .. whole(math.max(turn, tonumber(last))) .. ' ' .. host)
elseif from ~= '' then
  redis.call('HSET', base .. 'holders', holder, micros() .. '000 ' .. whole(turn) .. ' ' .. from)
end
return cmsgpack.pack(answers)
