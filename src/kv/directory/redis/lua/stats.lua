#!lua flags=no-writes
-- Who lives, and how much each has published.
-- KEYS: 1 lives, 2 counts
-- ARGV: none
-- Returns: per living instance 7 entries: line of the life (until, incarnation, name), ms of life left, blocks in tier 0, 1, 2, 3, bytes as text
--@include life.lua
local now = now_ms()
local fields = redis.call('HGETALL', KEYS[1])
local result = {}
for i = 1, #fields, 2 do
  local epoch, line = fields[i], fields[i + 1]
  local til = tonumber(string.match(line, '^%d+'))
  if til > now then
    local counts = redis.call('HMGET', KEYS[2], epoch .. '0', epoch .. '1', epoch .. '2', epoch .. '3', epoch .. 'b')
    local at = #result
    result[at + 1] = line
    result[at + 2] = til - now
    for tier = 0, 3 do result[at + 3 + tier] = tonumber(counts[tier + 1] or 0) end
    result[at + 7] = counts[5] or '0'
  end
end
return result
