-- key asking on_the_way_ms remember_ms met missed learn_ms
local key, asking = ARGV[1], ARGV[2]
local found, here = {'live'}, false
for _, h in ipairs(holdings(key)) do
  if h.n == asking and h.t + tonumber(ARGV[3]) <= now then
    drop(key, h)
    ended(key, tonumber(ARGV[4]))
  elseif h.e > now then
    if h.n == asking then
      here = true
    else
      found[#found + 1] = cjson.encode(h)
    end
  end
end
if #found > 1 then return found end
if here then return {'here'} end
local when = redis.call('GET', ended_of(key))
if when then return {'ended', tostring(now - when)} end
if learning(ARGV[5] == '1', ARGV[6] == '1', tonumber(ARGV[7])) then return {'learning'} end
return {'unknown'}
