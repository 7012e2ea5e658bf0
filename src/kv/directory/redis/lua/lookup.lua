#!lua flags=no-writes
-- How much of a chain each living instance holds without a hole.
-- KEYS: 1 lives, 2… blocks in chain order
-- ARGV: none
-- Returns: per instance 8 entries: line of the life (until, incarnation, name, one a line), leading blocks held in any tier,
--   leading blocks in tier 0, 1, 2, 3, bytes of the held ones as text, ms of life left. Nothing is cut: order is not defined
-- Errors: FOREIGN key, when a block's key holds what we did not write
--@include life.lua
--@include record.lua
local values, wrong = read_blocks(2)
if not values then return foreign(wrong) end

-- Per epoch: held, and per tier; a figure goes on growing only while it is equal to the blocks passed so far.
local holders, order = {}, {}
local passed, count = 0, #values
while passed < count do
  local value = values[passed + 1]
  if not value then break end
  -- Lua keeps equal strings once, so a run of blocks with the same holders costs one comparison each.
  local run = 1
  while values[passed + run + 1] == value do run = run + 1 end
  local goes_on = false
  local touched = {}
  for at = 3, #value, RECORD do
    local epoch = string.sub(value, at, at + 5)
    local holder = holders[epoch]
    if not holder and passed == 0 then
      holder = { held = 0, bytes = 0, [0] = 0, [1] = 0, [2] = 0, [3] = 0 }
      holders[epoch] = holder
      order[#order + 1] = epoch
    end
    if holder and (holder.held == passed or touched[epoch]) then
      local tier = string.byte(value, at + 6) - 48
      local a, b, c, d = string.byte(value, at + 7, at + 10)
      if holder[tier] == passed then holder[tier] = passed + run end
      local before = touched[epoch]
      if not before or tier < before.tier then
        touched[epoch] = { tier = tier, size = ((a * 256 + b) * 256 + c) * 256 + d }
      end
      holder.held = passed + run
      goes_on = true
    end
  end
  for epoch, first in pairs(touched) do
    holders[epoch].bytes = holders[epoch].bytes + run * first.size
  end
  if not goes_on then break end
  passed = passed + run
end
if #order == 0 then return {} end

local now = now_ms()
local lines = redis.call('HMGET', KEYS[1], unpack(order))
local result = {}
for i, epoch in ipairs(order) do
  local til = lines[i] and tonumber(string.match(lines[i], '^%d+')) or 0
  if til > now then
    local holder, at = holders[epoch], #result
    result[at + 1] = lines[i]
    result[at + 2] = holder.held
    for tier = 0, 3 do result[at + 3 + tier] = holder[tier] end
    result[at + 7] = string.format('%.0f', holder.bytes)
    result[at + 8] = til - now
  end
end
return result
