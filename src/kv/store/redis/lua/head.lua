-- Shared: names of keys. KEYS[1] = order, KEYS[2] = pins, KEYS[3] = counts; all other keys are made of their common prefix, which holds
-- the hash tag, so that they are in the same slot of a cluster.
local prefix = string.sub(KEYS[1], 1, -6)
local function metaKey(id) return prefix .. 'm:' .. id end
local function chunkKey(id, n) return prefix .. 'g:' .. id .. ':' .. n end
local function blockKey(key) return prefix .. 'b:' .. key end

-- Removes a value; the keys of its blocks. One whose meta ended by time leaves its bytes in the counts to `forget`.
local function drop(id)
  local meta = redis.call('HMGET', metaKey(id), 'bytes', 'chunks', 'tenant', 'keys', 'pinned')
  local gone = {}
  local bytes = meta[1] or redis.call('HGET', KEYS[3], 'b:' .. id)
  local tenant = meta[3] or redis.call('HGET', KEYS[3], 't:' .. id) or ''
  local pinned = redis.call('ZSCORE', KEYS[2], id)
  if meta[2] then
    for n = 0, tonumber(meta[2]) - 1 do redis.call('DEL', chunkKey(id, n)) end
  end
  if meta[4] then
    for key in string.gmatch(meta[4], '%x+') do
      if redis.call('GET', blockKey(key)) == id then
        redis.call('DEL', blockKey(key))
        gone[#gone + 1] = key
      end
    end
  end
  redis.call('DEL', metaKey(id))
  local known = redis.call('ZREM', KEYS[1], id) + redis.call('ZREM', KEYS[2], id)
  if known > 0 and bytes then
    redis.call('HINCRBY', KEYS[3], 'used', -tonumber(bytes))
    redis.call('HINCRBY', KEYS[3], 'groups', -1)
    if pinned then redis.call('HINCRBY', KEYS[3], 'pinned', -tonumber(bytes)) end
    if redis.call('HINCRBY', KEYS[3], 'u:' .. tenant, -tonumber(bytes)) <= 0 then redis.call('HDEL', KEYS[3], 'u:' .. tenant) end
  end
  redis.call('HDEL', KEYS[3], 'b:' .. id, 't:' .. id)
  return gone
end

local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
