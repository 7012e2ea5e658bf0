#!lua flags=allow-oom
-- Counts values as just used, in this order, and gives each its whole time again.
-- KEYS: order, pins, counts
-- ARGV: ttl in ms, ids
-- Returns how many are there
--@include head.lua
local at = now()
local touched = 0
for n = 2, #ARGV do
  local id = ARGV[n]
  local meta = redis.call('HMGET', metaKey(id), 'chunks', 'keys')
  if meta[1] then
    local order = redis.call('ZSCORE', KEYS[2], id) and KEYS[2] or KEYS[1]
    -- Later ones of one call count as later used.
    redis.call('ZADD', order, at + (n - 2) / 1000, id)
    redis.call('PEXPIRE', metaKey(id), ARGV[1])
    for c = 0, tonumber(meta[1]) - 1 do redis.call('PEXPIRE', chunkKey(id, c), ARGV[1]) end
    for key in string.gmatch(meta[2], '%x+') do redis.call('PEXPIRE', blockKey(key), ARGV[1]) end
    touched = touched + 1
  end
end
for n = 1, 3 do redis.call('PEXPIRE', KEYS[n], ARGV[1] * 2) end
return touched
