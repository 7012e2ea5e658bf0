#!lua flags=allow-oom
-- Extends the life of an incarnation.
-- KEYS: 1 instance, 2 lives, 3 counts
-- ARGV: 1 instance's name, 2 incarnation, 3 ttl ms from now, 4 ms that a fenced incarnation is remembered
-- Returns: 'renewed'; 'unknown': there is no such life, join again; 'fenced'
--@include life.lua
local now = now_ms()
local epoch, state = life_of(KEYS[1], ARGV[2], now)
if not epoch then return state end
local til = now + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'until', til)
redis.call('HSET', KEYS[2], epoch, til .. '\n' .. ARGV[2] .. '\n' .. ARGV[1])
local keep = tonumber(ARGV[3]) + tonumber(ARGV[4])
extend(KEYS[1], keep)
extend(KEYS[2], keep)
if redis.call('EXISTS', KEYS[3]) == 1 then extend(KEYS[3], keep) end
return 'renewed'
