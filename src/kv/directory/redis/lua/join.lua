#!lua
-- Begins the life of an incarnation, or begins it anew: what the directory knew of the instance is forgotten.
-- KEYS: 1 instance, 2 lives, 3 counts
-- ARGV: 1 instance's name, 2 incarnation, 3 ttl ms, 4 most instances, 5 ms that a fenced incarnation is remembered
-- Returns: 'joined'; 'fenced': this incarnation was fenced or followed by another; 'refused': too many instances
--@include life.lua
local now = now_ms()
local life = redis.call('HMGET', KEYS[1], 'incarnation', 'epoch', 'past')
local past = life[3] or ''
if is_past(past, ARGV[2]) then return 'fenced' end

-- Joining is rare: the place to drop lives that lapsed.
local fields = redis.call('HGETALL', KEYS[2])
local last, living = 0, 0
for i = 1, #fields, 2 do
  local epoch = fields[i]
  local a, b, c, d, e, f = string.byte(epoch, 1, 6)
  local number = ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
  if number > last then last = number end
  if epoch == life[2] then
    -- replaced below
  elseif tonumber(string.match(fields[i + 1], '^%d+')) <= now then
    end_epoch(KEYS[2], KEYS[3], epoch)
  else
    living = living + 1
  end
end
if living >= tonumber(ARGV[4]) then return 'refused' end

if life[2] then end_epoch(KEYS[2], KEYS[3], life[2]) end
if life[1] and life[1] ~= ARGV[2] and not is_past(past, life[1]) then past = with_past(life[1], past) end

-- Times of the server, each used once: no epoch comes again, not even when Redis has lost all it knew.
local number = math.max(now, last + 1)
local bytes = {}
for i = 6, 1, -1 do
  bytes[i] = string.char(number % 256)
  number = math.floor(number / 256)
end
local epoch = table.concat(bytes)
local til = now + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'incarnation', ARGV[2], 'epoch', epoch, 'until', til, 'seq', 0, 'past', past)
redis.call('HSET', KEYS[2], epoch, til .. '\n' .. ARGV[2] .. '\n' .. ARGV[1])
local keep = tonumber(ARGV[3]) + tonumber(ARGV[5])
extend(KEYS[1], keep)
extend(KEYS[2], keep)
return 'joined'
