-- ARGV[2...]: place, most. Gives: the log's number, its last place, what follows.
return {begun(), held('last'), redis.call('XRANGE', log, whole(ARGV[2] + 1), '+', 'COUNT', ARGV[3])}
