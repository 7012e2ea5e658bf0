#!lua
-- Stores one value, making room first: those whose time is over, then the longest unused, pinned ones last.
-- KEYS: order, pins, counts
-- ARGV: id, bytes, tenant, pinned (0 or 1), ttl in ms, capacity, bytes of a tenant at most, values given up at most, keys joined by blanks,
--       then the chunks of the value
-- Refused as a whole, before anything was changed, when the server's memory is used up.
-- Returns {word, key, …}: `stored`, `full`, `quota` (the tenant's share) or `much` (more would have to go than one call may), and the keys
-- of blocks that were given up
--@include head.lua
local id, bytes, tenant, pinned, ttl = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4] == '1', tonumber(ARGV[5])
local capacity, quota, most = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local at = now()
local reply = { 'stored' }
local function give(up)
  for _, key in ipairs(drop(up)) do reply[#reply + 1] = key end
  most = most - 1
end

if bytes > capacity then return { 'full' } end
if bytes > quota then return { 'quota' } end
-- A key that holds something else than a string is not ours: this ends here with the server's error, before anything was changed.
for key in string.gmatch(ARGV[9], '%x+') do redis.call('STRLEN', blockKey(key)) end
for n = 10, #ARGV do redis.call('STRLEN', chunkKey(id, n - 10)) end
give(id)
for _, order in ipairs({ KEYS[1], KEYS[2] }) do
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', order, '-inf', at - ttl, 'LIMIT', 0, 64)) do
    if redis.call('EXISTS', metaKey(old)) == 0 then give(old) end
  end
end

local function used(field) return tonumber(redis.call('HGET', KEYS[3], field) or '0') end
for _, order in ipairs({ KEYS[1], KEYS[2] }) do
  local from = 0
  while used('u:' .. tenant) + bytes > quota and most > 0 do
    local old = redis.call('ZRANGE', order, from, from)[1]
    if not old then break end
    if redis.call('HGET', KEYS[3], 't:' .. old) == tenant then give(old) else from = from + 1 end
    most = most - (from > 0 and 0.01 or 0)
  end
end
for _, order in ipairs({ KEYS[1], KEYS[2] }) do
  while used('used') + bytes > capacity and most > 0 do
    local old = redis.call('ZRANGE', order, 0, 0)[1]
    if not old then break end
    give(old)
  end
end
if used('used') + bytes > capacity or used('u:' .. tenant) + bytes > quota then
  reply[1] = 'much'
  return reply
end

for n = 10, #ARGV do redis.call('SET', chunkKey(id, n - 10), ARGV[n], 'PX', ttl) end
redis.call('HSET', metaKey(id), 'bytes', bytes, 'chunks', #ARGV - 9, 'tenant', tenant, 'keys', ARGV[9], 'pinned', ARGV[4])
redis.call('PEXPIRE', metaKey(id), ttl)
for key in string.gmatch(ARGV[9], '%x+') do redis.call('SET', blockKey(key), id, 'PX', ttl) end
redis.call('ZADD', pinned and KEYS[2] or KEYS[1], at, id)
redis.call('HSET', KEYS[3], 'b:' .. id, bytes, 't:' .. id, tenant)
redis.call('HINCRBY', KEYS[3], 'used', bytes)
redis.call('HINCRBY', KEYS[3], 'groups', 1)
redis.call('HINCRBY', KEYS[3], 'u:' .. tenant, bytes)
if pinned then redis.call('HINCRBY', KEYS[3], 'pinned', bytes) end
-- They outlive the values that they are about, so that whoever comes next can put the counts right.
for n = 1, 3 do redis.call('PEXPIRE', KEYS[n], ttl * 2) end
return reply
