#!lua flags=allow-oom
-- Ends a lease over blocks before its time.
-- KEYS: 1 instance, 2 leases of the incarnation
-- ARGV: 1 incarnation, 2 lease (16 hex digits), 3… names of its blocks
-- Returns: 'released'; 'over': it had ended, or the incarnation had
--@include life.lua
local now = now_ms()
local living = life_of(KEYS[1], ARGV[1], now)
local names = { unpack(ARGV, 3) }
local old = redis.call('HMGET', KEYS[2], unpack(names))
local result = 'over'
local gone = {}
for i, name in ipairs(names) do
  local before = old[i]
  if before then
    local parts, found = {}, false
    for at = 1, #before, 29 do
      local entry = string.sub(before, at, at + 28)
      if string.sub(entry, 14) ~= ARGV[2] then
        parts[#parts + 1] = entry
      else
        found = true
        if tonumber(string.sub(entry, 1, 13)) > now and living then result = 'released' end
      end
    end
    if found and #parts == 0 then
      gone[#gone + 1] = name
    elseif found then
      redis.call('HSET', KEYS[2], name, table.concat(parts))
    end
  end
end
if #gone > 0 then redis.call('HDEL', KEYS[2], unpack(gone)) end
return result
