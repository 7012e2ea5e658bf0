#!lua flags=allow-oom
-- Ends an incarnation for good. Costs the same whatever it held: its epoch goes, and with it the meaning of all its records.
-- KEYS: 1 instance, 2 lives, 3 counts, 4 leases of the incarnation
-- ARGV: 1 incarnation, 2 ms that it is remembered
-- Returns: 'fenced': it was alive; 'absent': it was not, and will not be
--@include life.lua
local now = now_ms()
local life = redis.call('HMGET', KEYS[1], 'incarnation', 'epoch', 'until', 'past')
local past = life[4] or ''
local result = 'absent'
if life[1] == ARGV[1] and life[2] then
  if tonumber(life[3]) > now then result = 'fenced' end
  end_epoch(KEYS[2], KEYS[3], life[2])
  redis.call('HDEL', KEYS[1], 'epoch')
end
redis.call('UNLINK', KEYS[4])
if not is_past(past, ARGV[1]) then redis.call('HSET', KEYS[1], 'past', with_past(ARGV[1], past)) end
extend(KEYS[1], tonumber(ARGV[2]))
return result
