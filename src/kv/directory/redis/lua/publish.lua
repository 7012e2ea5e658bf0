#!lua
-- Notes that an incarnation holds blocks in a tier.
-- KEYS: 1 instance, 2 lives, 3 counts, 4… blocks
-- ARGV: 1 incarnation, 2 seq, 3 tier ('0' to '3'), 4 bytes of each block, 5 ttl of a block in ms, 6 ttl of the counts in ms
-- Returns: 'applied'; 'stale': this seq was applied before; 'gap': an earlier one was not; 'unknown'; 'fenced'
-- Errors: FOREIGN key, when a block's key holds what we did not write; nothing is changed then
--@include life.lua
--@include record.lua
local now = now_ms()
local epoch, seq = life_of(KEYS[1], ARGV[1], now)
if not epoch then return seq end
if tonumber(ARGV[2]) <= seq then return 'stale' end
if tonumber(ARGV[2]) > seq + 1 then return 'gap' end
local values, wrong = read_blocks(4)
if not values then return foreign(wrong) end

local size = tonumber(ARGV[4])
local head = epoch .. ARGV[3]
local record = head .. string.char(math.floor(size / 16777216), math.floor(size / 65536) % 256, math.floor(size / 256) % 256, size % 256)

-- Records of lives that are over go when a block is written anyway; each epoch is looked up once per call.
local lives = { [epoch] = true }
local function is_alive(other)
  if lives[other] == nil then
    local line = redis.call('HGET', KEYS[2], other)
    lives[other] = line and tonumber(string.match(line, '^%d+')) > now or false
  end
  return lives[other]
end

local function rewrite(old)
  local parts, replaced = { 'S1', record }, nil
  for at = 3, #old, RECORD do
    if string.sub(old, at, at + 6) == head then
      local a, b, c, d = string.byte(old, at + 7, at + 10)
      replaced = ((a * 256 + b) * 256 + c) * 256 + d
    elseif is_alive(string.sub(old, at, at + 5)) then
      parts[#parts + 1] = string.sub(old, at, at + 10)
    end
  end
  return { table.concat(parts), replaced }
end

-- Neighbours in a chain mostly have the same holders, so what follows from one value is kept for the next.
local fresh, known = { 'S1' .. record, nil }, {}
local added, bytes = 0, 0
for i = 1, #values do
  local old = values[i]
  local new = fresh
  if old then
    new = known[old]
    if not new then
      new = rewrite(old)
      known[old] = new
    end
  end
  redis.call('SET', KEYS[i + 3], new[1], 'PX', ARGV[5])
  if new[2] then
    bytes = bytes + size - new[2]
  else
    added = added + 1
    bytes = bytes + size
  end
end
redis.call('HSET', KEYS[1], 'seq', ARGV[2])
redis.call('HINCRBY', KEYS[3], head, added)
redis.call('HINCRBY', KEYS[3], epoch .. 'b', bytes)
extend(KEYS[3], tonumber(ARGV[6]))
return 'applied'
