-- node http max_nodes
heard(ARGV[1], ARGV[2], tonumber(ARGV[3]))
return {}
