#!lua flags=allow-oom
-- Extends a lease over blocks.
-- KEYS: 1 instance, 2 leases of the incarnation
-- ARGV: 1 incarnation, 2 lease (16 hex digits), 3 ttl ms from now, 4… names of its blocks
-- Returns: 'renewed'; 'over': it ended, or the incarnation did
--@include life.lua
local now = now_ms()
if not life_of(KEYS[1], ARGV[1], now) then return 'over' end
local names = { unpack(ARGV, 4) }
local old = redis.call('HMGET', KEYS[2], unpack(names))
local til = string.format('%013.0f', now + tonumber(ARGV[3]))
local known, writes = {}, {}
for i, name in ipairs(names) do
  local before = old[i]
  -- A block that was withdrawn by force is under no lease any more; the others still are.
  if before then
    local after = known[before]
    if after == nil then
      after = false
      for at = 1, #before, 29 do
        if string.sub(before, at + 13, at + 28) == ARGV[2] and tonumber(string.sub(before, at, at + 12)) > now then
          after = string.sub(before, 1, at - 1) .. til .. string.sub(before, at + 13)
        end
      end
      known[before] = after
    end
    if after then
      writes[#writes + 1] = name
      writes[#writes + 1] = after
    end
  end
end
if #writes == 0 then return 'over' end
for first = 1, #writes, 4096 do redis.call('HSET', KEYS[2], unpack(writes, first, math.min(first + 4095, #writes))) end
extend(KEYS[2], tonumber(ARGV[3]))
return 'renewed'
