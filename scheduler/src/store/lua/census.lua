return {
  tostring(redis.call('ZCARD', STREAMS)),
  tostring(redis.call('ZCARD', NODES)),
  tostring(redis.call('EXISTS', LEARNING)),
}
