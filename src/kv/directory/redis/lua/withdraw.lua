#!lua flags=allow-oom
-- Notes that an incarnation holds blocks in a tier no longer. A leased block stays in the last tier that it is in.
-- KEYS: 1 instance, 2 counts, 3 leases of the incarnation, 4… blocks
-- ARGV: 1 incarnation, 2 seq, 3 tier ('0' to '3'), 4 '1' when leases do not count: the bytes are gone already
-- Returns: {'applied' or 'stale', position of each block that is still published in the tier, from 1…}; {'gap'}; {'unknown'}; {'fenced'}
-- Errors: FOREIGN key, when a block's key holds what we did not write; nothing is changed then
--@include life.lua
--@include record.lua
local now = now_ms()
local epoch, seq = life_of(KEYS[1], ARGV[1], now)
if not epoch then return { seq } end
if tonumber(ARGV[2]) > seq + 1 then return { 'gap' } end
local values, wrong = read_blocks(4)
if not values then return foreign(wrong) end
local head = epoch .. ARGV[3]
local result = { 'applied' }
if tonumber(ARGV[2]) <= seq then
  result[1] = 'stale'
  for i = 1, #values do
    if values[i] and find_record(values[i], head) then result[#result + 1] = i end
  end
  return result
end

local names = {}
for i = 1, #values do names[i] = string.sub(KEYS[i + 3], -32) end
local leases = redis.call('EXISTS', KEYS[3]) == 1 and redis.call('HMGET', KEYS[3], unpack(names)) or {}
local function is_leased(i)
  local entries = leases[i]
  if not entries or ARGV[4] == '1' then return false end
  for at = 1, #entries, 29 do
    if tonumber(string.sub(entries, at, at + 12)) > now then return true end
  end
  return false
end

local function without(old)
  local at = find_record(old, head)
  if not at then return {} end
  local a, b, c, d = string.byte(old, at + 7, at + 10)
  local rest = string.sub(old, 1, at - 1) .. string.sub(old, at + RECORD)
  local held = false
  for tier = 0, 3 do held = held or find_record(rest, epoch .. tier) ~= nil end
  return { rest, ((a * 256 + b) * 256 + c) * 256 + d, held }
end

local known = {}
local empty, unheld = {}, {}
local removed, bytes = 0, 0
for i = 1, #values do
  local old = values[i]
  if old then
    local new = known[old]
    if not new then
      new = without(old)
      known[old] = new
    end
    if new[1] then
      if not new[3] and is_leased(i) then
        result[#result + 1] = i
      else
        if #new[1] == 2 then
          empty[#empty + 1] = KEYS[i + 3]
        else
          redis.call('SET', KEYS[i + 3], new[1], 'KEEPTTL')
        end
        if leases[i] and not new[3] then unheld[#unheld + 1] = names[i] end
        removed = removed + 1
        bytes = bytes + new[2]
      end
    end
  end
end
if #empty > 0 then redis.call('UNLINK', unpack(empty)) end
if #unheld > 0 then redis.call('HDEL', KEYS[3], unpack(unheld)) end
redis.call('HSET', KEYS[1], 'seq', ARGV[2])
if removed > 0 and redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('HINCRBY', KEYS[2], head, -removed)
  redis.call('HINCRBY', KEYS[2], epoch .. 'b', -bytes)
end
return result
