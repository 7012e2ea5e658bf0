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

local function extend(key, ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, ms) end
end
