-- Keys. All share a hash tag, so that they live in one slot of a Redis Cluster.
--   {oclp}:s:KEY     hash    node and client -> holding as JSON      (one per stream)
--   {oclp}:ended:KEY string  when the stream ended
--   {oclp}:on:NODE   set     "worker client KEY" of its holdings
--   {oclp}:streams   zset    KEY, all of score 0: in order of name
--   {oclp}:due       zset    KEY by when to look for ended leases
--   {oclp}:nodes     zset    node by when it was last heard
--   {oclp}:http      hash    node -> its HTTP address
--   {oclp}:run       string  run_id of the Redis server that this was written to
--   {oclp}:learning  string  there while something may have been forgotten
--   {oclp}:starts    counter of publish starts
--   {oclp}:ticked    when a scheduler kept house last
-- A holding: n node, c client, w worker, h http, s since, o order, t heard, e expires. Times are ms of Redis' clock.
local STREAMS, DUE, NODES, HTTP = '{oclp}:streams', '{oclp}:due', '{oclp}:nodes', '{oclp}:http'
local STARTS, RUN, LEARNING = '{oclp}:starts', '{oclp}:run', '{oclp}:learning'
local TICKED = '{oclp}:ticked'
-- schedulers keep house every second: when it was longer ago, none was there, or the clock was set
local GAP_MS = 10000
-- leases are ended by tick; this is for records whose schedulers have all gone
local SLACK_MS = 60000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function stream_of(key) return '{oclp}:s:' .. key end
local function ended_of(key) return '{oclp}:ended:' .. key end
local function on(node) return '{oclp}:on:' .. node end
local function field(h) return h.n .. ' ' .. h.c end
local function member(h, key) return h.w .. ' ' .. h.c .. ' ' .. key end

local function holdings(key)
  local all = redis.call('HVALS', stream_of(key))
  for i, json in ipairs(all) do all[i] = cjson.decode(json) end
  return all
end

-- removes one holding; the stream too, if it was the last
local function drop(key, h)
  redis.call('HDEL', stream_of(key), field(h))
  redis.call('SREM', on(h.n), member(h, key))
  if redis.call('EXISTS', stream_of(key)) == 0 then
    redis.call('ZREM', STREAMS, key)
    redis.call('ZREM', DUE, key)
  end
end

local function ended(key, remember_ms)
  if remember_ms > 0 and redis.call('EXISTS', stream_of(key)) == 0 then
    redis.call('SET', ended_of(key), now, 'PX', remember_ms)
  end
end

-- notes a sign of life; false if the list of nodes is full
local function heard(node, http, max_nodes)
  if not redis.call('ZSCORE', NODES, node) and redis.call('ZCARD', NODES) >= max_nodes then
    return false
  end
  redis.call('ZADD', NODES, now, node)
  if http ~= '' then redis.call('HSET', HTTP, node, http) end
  return true
end

-- Whether something may have been forgotten. It was, if this is not the Redis run that was written to (restarted or
-- failed over), or if it was emptied behind the back of a scheduler that has met it (met), or if a scheduler could not
-- write for a while (missed), or if leases ended by a clock that was set, or while there was no scheduler to renew them.
local function learning(met, missed, learn_ms)
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local written = redis.call('GET', RUN)
  local ticked = tonumber(redis.call('GET', TICKED))
  local gap = ticked and now - ticked > GAP_MS
  if learn_ms > 0 and (missed or gap or (written ~= run and (written or met))) then
    redis.call('SET', LEARNING, 1, 'PX', learn_ms)
  end
  if written ~= run then redis.call('SET', RUN, run) end
  return redis.call('EXISTS', LEARNING) == 1
end
