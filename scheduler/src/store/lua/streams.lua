-- after limit
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local answer = {tostring(now)}
for _, key in ipairs(redis.call('ZRANGEBYLEX', STREAMS, from, '+', 'LIMIT', 0, tonumber(ARGV[2]))) do
  local all = redis.call('HVALS', stream_of(key))
  answer[#answer + 1] = key
  answer[#answer + 1] = '[' .. table.concat(all, ',') .. ']'
end
return answer
