-- node worker keep_ms (-1: forget) remember_ms
local node, worker, keep_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local count = 0
for _, m in ipairs(redis.call('SMEMBERS', on(node))) do
  local w, c, key = string.match(m, '^([^ ]*) ([^ ]*) (.*)$')
  local json = w == worker and redis.call('HGET', stream_of(key), node .. ' ' .. c)
  if json then
    local h = cjson.decode(json)
    count = count + 1
    if keep_ms < 0 then
      drop(key, h)
      ended(key, tonumber(ARGV[4]))
    else
      h.e = math.min(h.e, now + keep_ms)
      redis.call('HSET', stream_of(key), field(h), cjson.encode(h))
      redis.call('ZADD', DUE, 'LT', h.e, key)
    end
  end
end
return {tostring(count)}
