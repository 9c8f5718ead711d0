local answer = {tostring(now)}
for _, node in ipairs(redis.call('ZRANGE', NODES, 0, -1)) do
  answer[#answer + 1] = node
  answer[#answer + 1] = redis.call('HGET', HTTP, node) or ''
  answer[#answer + 1] = tostring(redis.call('SCARD', on(node)))
  answer[#answer + 1] = redis.call('ZSCORE', NODES, node)
end
return answer
