#!lua flags=allow-oom
-- Ends an incarnation for good. Costs the same whatever it held: its epoch goes, and with it the meaning of all its records.
-- KEYS: 1 instance, 2 lives, 3 counts, 4 leases of the incarnation
-- ARGV: 1 incarnation, 2 ms that it is remembered
-- Returns: 'fenced': it was alive; 'absent': it was not, and will not be
--@include life.lua
local PAST = 16
local now = now_ms()
local life = redis.call('HMGET', KEYS[1], 'incarnation', 'epoch', 'until', 'past')
local past = life[4] or ''
local result = 'absent'
if life[1] == ARGV[1] and life[2] then
  if tonumber(life[3]) > now then result = 'fenced' end
  redis.call('HDEL', KEYS[2], life[2])
  redis.call('HDEL', KEYS[3], life[2] .. '0', life[2] .. '1', life[2] .. '2', life[2] .. '3', life[2] .. 'b')
  redis.call('HDEL', KEYS[1], 'epoch')
end
redis.call('UNLINK', KEYS[4])
if not is_past(past, ARGV[1]) then
  local kept, lines = { ARGV[1] .. '\n' }, 1
  for line in string.gmatch(past, '[^\n]+') do
    lines = lines + 1
    if lines <= PAST then kept[lines] = line .. '\n' end
  end
  redis.call('HSET', KEYS[1], 'past', table.concat(kept))
end
extend(KEYS[1], tonumber(ARGV[2]))
return result
