-- Included by other scripts: the server's time and the life of an instance.
-- The hash of an instance: incarnation, epoch (6 bytes; absent once fenced), until (server's ms), seq, past (fenced incarnations, one a line).
local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function is_past(past, incarnation)
  return string.find('\n' .. (past or ''), '\n' .. incarnation .. '\n', 1, true) ~= nil
end

-- The epoch and seq of a life that goes on; else nil and why not: 'unknown' or 'fenced'.
local function life_of(key, incarnation, now)
  local life = redis.call('HMGET', key, 'incarnation', 'epoch', 'until', 'seq', 'past')
  if is_past(life[5], incarnation) then return nil, 'fenced' end
  if life[1] ~= incarnation or not life[2] or tonumber(life[3]) <= now then return nil, 'unknown' end
  return life[2], tonumber(life[4])
end

-- Takes a life out, and with it the meaning of all its records.
local function end_epoch(lives, counts, epoch)
  redis.call('HDEL', lives, epoch)
  redis.call('HDEL', counts, epoch .. '0', epoch .. '1', epoch .. '2', epoch .. '3', epoch .. 'b')
end

-- The fenced incarnations and one more, newest first.
local PAST = 16
local function with_past(incarnation, past)
  local kept, lines = { incarnation .. '\n' }, 1
  for line in string.gmatch(past, '[^\n]+') do
    lines = lines + 1
    if lines <= PAST then kept[lines] = line .. '\n' end
  end
  return table.concat(kept)
end

local function extend(key, ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, ms) end
end
