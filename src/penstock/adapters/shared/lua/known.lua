-- Returns {{holder, "<seen_ns> <turn> <host>", ...}, {account, unix ns, ...}}.
return cmsgpack.pack({redis.call('HGETALL', base .. 'holders'), redis.call('HGETALL', base .. 'opened')})
