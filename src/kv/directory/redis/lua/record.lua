-- Included by other scripts: what stands under a block.
-- 'S1' and records of 11 bytes: epoch (6), tier (1, from '0' on), bytes (4, big endian). At most one record per epoch and tier.
local RECORD = 11

local function foreign(key)
  return redis.error_reply('FOREIGN ' .. key)
end

-- Where the record that starts with `head` begins; nil when there is none.
local function find_record(value, head)
  local at = 1
  repeat
    at = string.find(value, head, at, true)
    if at and (at - 3) % RECORD == 0 and at > 2 then return at end
    if at then at = at + 1 end
  until not at
  return nil
end

-- The values of the blocks KEYS[first] and on, or nil and the key that holds what we did not write: another version, another type.
local function read_blocks(first)
  local values = redis.call('MGET', unpack(KEYS, first))
  local absent = {}
  for i = 1, #values do
    local value = values[i]
    if not value then
      absent[#absent + 1] = KEYS[first + i - 1]
    elseif value ~= values[i - 1] and (string.sub(value, 1, 2) ~= 'S1' or (#value - 2) % RECORD ~= 0) then
      return nil, KEYS[first + i - 1]
    end
  end
  -- MGET shows a key of another type as absent.
  if #absent > 0 and redis.call('EXISTS', unpack(absent)) > 0 then
    for _, key in ipairs(absent) do
      if redis.call('EXISTS', key) == 1 then return nil, key end
    end
  end
  return values
end
