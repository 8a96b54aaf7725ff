-- Begins the book where there is none, or where the server has started since: what it then remembers may be older than what was
-- granted. Run on every connection before anything else. Returns when the book was begun.
local memory = redis.call('INFO', 'memory')
if string.match(memory, 'maxmemory_policy:allkeys') and not string.match(memory, 'maxmemory:0%s') then
  return redis.error_reply('EVICTS maxmemory-policy lets it forget keys')
end
begin()
return redis.call('HGET', base, 'born')
