#!lua flags=no-writes
-- The chunks of one value.
-- KEYS: its meta, then as many chunk keys as are asked for
-- Returns {count of chunks, chunk, …}: an empty list when it is gone
local chunks = redis.call('HGET', KEYS[1], 'chunks')
if not chunks then return {} end
local reply = { chunks }
for n = 2, #KEYS do
  local chunk = redis.call('GET', KEYS[n])
  if not chunk then
    if n - 1 <= tonumber(chunks) then return {} end
    break
  end
  reply[n] = chunk
end
return reply
