-- key node client worker remember_ms
local key = ARGV[1]
local json = redis.call('HGET', stream_of(key), ARGV[2] .. ' ' .. ARGV[3])
if not json then return {'none'} end
local h = cjson.decode(json)
if h.w ~= ARGV[4] then return {'none'} end
drop(key, h)
ended(key, tonumber(ARGV[5]))
return {'released'}
