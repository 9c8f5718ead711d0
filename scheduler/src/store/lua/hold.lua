-- key node client worker http lease_ms fresh first_wins max_streams max_holdings max_nodes learn_ms
local key, node, client, worker, http = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local lease_ms, fresh, first_wins = tonumber(ARGV[6]), ARGV[7] == '1', ARGV[8] == '1'
local max_streams, max_holdings, max_nodes = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local learn_ms = tonumber(ARGV[12])

local others, mine = {}, nil
for _, h in ipairs(holdings(key)) do
  if h.e <= now then
    drop(key, h)
  elseif h.n == node and h.c == client then
    mine = h
  else
    others[#others + 1] = h
    if fresh and first_wins and h.n ~= node then return {'taken', h.n} end
  end
end
if not mine and #others == 0 and redis.call('ZCARD', STREAMS) >= max_streams then return {'full'} end
if not heard(node, http, max_nodes) then return {'full'} end

if mine and mine.w ~= worker then redis.call('SREM', on(node), member(mine, key)) end
if not mine and #others >= max_holdings then
  table.sort(others, function(a, b) return a.t < b.t end)
  drop(key, others[1])
end
local since, order = now, redis.call('INCR', STARTS)
if mine and not fresh then since, order = mine.s, mine.o end
local h = {n = node, c = client, w = worker, h = http, s = since, o = order, t = now, e = now + lease_ms}
redis.call('HSET', stream_of(key), field(h), cjson.encode(h))
redis.call('PEXPIRE', stream_of(key), lease_ms + SLACK_MS)
redis.call('SADD', on(node), member(h, key))
redis.call('PEXPIRE', on(node), lease_ms + SLACK_MS)
redis.call('ZADD', STREAMS, 0, key)
redis.call('ZADD', DUE, 'NX', h.e, key)
redis.call('DEL', ended_of(key))
if mine or fresh then return {'recorded'} end
if learn_ms > 0 then redis.call('SET', LEARNING, 1, 'PX', learn_ms, 'NX') end
return {'relearned'}
