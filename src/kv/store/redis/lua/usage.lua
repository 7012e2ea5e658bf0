#!lua flags=no-writes
-- What is held, and the ids of values.
-- KEYS: order, pins, counts
-- ARGV: ids wanted at most
-- Returns {used bytes, pinned bytes, groups, id, …}
local counts = redis.call('HMGET', KEYS[3], 'used', 'pinned', 'groups')
local reply = { counts[1] or '0', counts[2] or '0', counts[3] or '0' }
local most = tonumber(ARGV[1])
for _, order in ipairs({ KEYS[1], KEYS[2] }) do
  if most > 0 then
    for _, id in ipairs(redis.call('ZRANGE', order, 0, most - 1)) do
      reply[#reply + 1] = id
      most = most - 1
    end
  end
end
return reply
