#!lua flags=no-writes
-- Which value holds each block.
-- KEYS: the blocks' keys
-- Returns an id or '' for each
local ids = redis.call('MGET', unpack(KEYS))
for n = 1, #KEYS do ids[n] = ids[n] or '' end
return ids
