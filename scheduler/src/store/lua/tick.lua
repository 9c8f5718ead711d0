-- met missed learn_ms node_memory_ms limit lease_ms
learning(ARGV[1] == '1', ARGV[2] == '1', tonumber(ARGV[3]))
redis.call('SET', TICKED, now)
-- no lease is longer than lease_ms: one that seems so is from before the clock was set back
local latest = now + tonumber(ARGV[6])
for _, key in ipairs(redis.call('ZRANGEBYSCORE', DUE, '(' .. latest, '+inf', 'LIMIT', 0, tonumber(ARGV[5]))) do
  for _, h in ipairs(holdings(key)) do
    if h.e > latest then
      h.e = latest
      redis.call('HSET', stream_of(key), field(h), cjson.encode(h))
    end
  end
  redis.call('ZADD', DUE, latest, key)
end
local expired = 0
for _, key in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, tonumber(ARGV[5]))) do
  local next
  for _, h in ipairs(holdings(key)) do
    if h.e <= now then
      drop(key, h)
      expired = expired + 1
    elseif not next or h.e < next then
      next = h.e
    end
  end
  if next then
    redis.call('ZADD', DUE, next, key)
  else
    redis.call('ZREM', STREAMS, key)
    redis.call('ZREM', DUE, key)
  end
end
for _, node in ipairs(redis.call('ZRANGEBYSCORE', NODES, '-inf', now - ARGV[4], 'LIMIT', 0, tonumber(ARGV[5]))) do
  if redis.call('EXISTS', on(node)) == 0 then
    redis.call('ZREM', NODES, node)
    redis.call('HDEL', HTTP, node)
  end
end
return {tostring(expired)}
