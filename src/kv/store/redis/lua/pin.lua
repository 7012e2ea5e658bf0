#!lua flags=allow-oom
-- Pins values, or lets them go.
-- KEYS: order, pins, counts
-- ARGV: 1 or 0, ids
-- Returns how many changed
--@include head.lua
local from, to = KEYS[1], KEYS[2]
local sign = 1
if ARGV[1] == '0' then from, to, sign = KEYS[2], KEYS[1], -1 end
local changed = 0
for n = 2, #ARGV do
  local score = redis.call('ZSCORE', from, ARGV[n])
  if score then
    redis.call('ZREM', from, ARGV[n])
    redis.call('ZADD', to, score, ARGV[n])
    redis.call('HINCRBY', KEYS[3], 'pinned', sign * tonumber(redis.call('HGET', KEYS[3], 'b:' .. ARGV[n]) or '0'))
    changed = changed + 1
  end
end
return changed
