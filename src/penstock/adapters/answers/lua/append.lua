-- ARGV[2...]: kind, entry or packed entries, at_ns, digest, event, answer or nothing, of each.
begin()
for first = 2, #ARGV, 6 do
  local kind, entry, at_ns, digest, body, answer = unpack(ARGV, first, first + 5)
  if redis.call('HEXISTS', digests, digest) == 0 then
    local place = whole(redis.call('HINCRBY', meta, 'last', 1))
    if kind == 'removal' then
      for _, each in ipairs(cmsgpack.unpack(entry)) do
        forget(entries, each)
        forget(vouched, each)
        forget_answer(each)
      end
    end
    redis.call('XADD', log, place .. '-0', 'b', body)
    redis.call('HSET', digests, digest, place)
    if kind == 'entry' then
      forget(entries, entry)
      redis.call('HSET', entries, entry, place .. ' ' .. #body .. ' ' .. digest)
      redis.call('HINCRBY', meta, 'bytes', #body)
      if #answer > 0 then
        forget_answer(entry)
        redis.call('HSET', bodies, entry, answer)
        redis.call('HINCRBY', meta, 'bytes', #answer)
      end
    elseif kind == 'vouched' and redis.call('HEXISTS', entries, entry) == 1 then
      forget(vouched, entry)
      redis.call('HSET', vouched, entry, place .. ' 0 ' .. digest)
    else
      redis.call('ZADD', others, place, place .. ' ' .. at_ns .. ' ' .. digest)
    end
  end
end
count()
