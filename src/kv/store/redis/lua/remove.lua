#!lua flags=allow-oom
-- Removes values.
-- KEYS: order, pins, counts
-- ARGV: ids
-- Returns the keys of their blocks
--@include head.lua
local keys = {}
for n = 1, #ARGV do
  for _, key in ipairs(drop(ARGV[n])) do keys[#keys + 1] = key end
end
return keys
