#!lua
-- Keeps the leading blocks of a chain that an incarnation holds: until the lease ends it withdraws none of them.
-- KEYS: 1 instance, 2 leases of the incarnation, 3… blocks in chain order
-- ARGV: 1 incarnation, 2 lease (16 hex digits), 3 ttl ms, 4 most leases over one block
-- Returns: count of the leased blocks; 'missing': not even the first is held; 'refused': too many leases over a block; 'unknown'; 'fenced'
-- Errors: FOREIGN key, when a block's key holds what we did not write
-- A field of the leases: a block's name, with entries of 29 characters: server's ms at which it ends (13), lease (16).
--@include life.lua
--@include record.lua
local now = now_ms()
local epoch, state = life_of(KEYS[1], ARGV[1], now)
if not epoch then return state end
local values, wrong = read_blocks(3)
if not values then return foreign(wrong) end
local names = {}
for i = 1, #values do
  local held = false
  for tier = 0, 3 do held = held or (values[i] and find_record(values[i], epoch .. tier) ~= nil) end
  if not held then break end
  names[i] = string.sub(KEYS[i + 2], -32)
end
if #names == 0 then return 'missing' end

local entry = string.format('%013.0f', now + tonumber(ARGV[3])) .. ARGV[2]
local old = redis.call('HMGET', KEYS[2], unpack(names))
local known, writes = {}, {}
for i, name in ipairs(names) do
  local before = old[i] or ''
  local after = known[before]
  if not after then
    local parts = { entry }
    for at = 1, #before, 29 do
      local other = string.sub(before, at, at + 28)
      if tonumber(string.sub(other, 1, 13)) > now and string.sub(other, 14) ~= ARGV[2] then parts[#parts + 1] = other end
    end
    if #parts > tonumber(ARGV[4]) then return 'refused' end
    after = table.concat(parts)
    known[before] = after
  end
  writes[#writes + 1] = name
  writes[#writes + 1] = after
end
for first = 1, #writes, 4096 do redis.call('HSET', KEYS[2], unpack(writes, first, math.min(first + 4095, #writes))) end
extend(KEYS[2], tonumber(ARGV[3]))
return #names
