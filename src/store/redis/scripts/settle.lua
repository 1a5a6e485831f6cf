-- What the upstream's responses do to the nonces of accepted requests.
--
-- KEYS  for each: the nonce, the index of nonces; at last the marks of claims that were given up
-- ARGV  for each: "keep", "release" or "abandon", the claim's id, for how long its nonce is pinned (ms), keep (ms), the most
--       times that it may be abandoned, whether the claim was called for "once" or "again";
--       at last what the reply begins with, so that it is known whose it is
--
-- Replies "settled", after that. To do it twice is to do it once, so that it can be sent again when no reply came.

-- How many marks there are at most, and for how long after the last one.
local MAX_MARKS = 10000
local MARKS_MS = 600000

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local marks = KEYS[#KEYS]

-- Values are as decide.lua has them. They name the same moment as the index does, where they name one.
local function remember(claim, value)
  redis.call('SET', claim.nonce, value, 'PX', math.max(claim.pinned, claim.keep))
  redis.call('ZADD', claim.index, claim.pinned_until, claim.nonce)
  -- The index outlives its nonces, also those of a webhook that keeps them for longer.
  local outlives = claim.pinned + claim.keep
  if redis.call('PTTL', claim.index) < outlives then redis.call('PEXPIRE', claim.index, outlives) end
  return value
end

local function is_replay(value)
  if not value or string.sub(value, 1, 1) == 'a' then return false end
  local pinned_until = string.match(value, '^p:[^:]*:%d+:(%d+)$')
  return not pinned_until or tonumber(pinned_until) >= now
end

-- Gives up a claim that is in Redis, and returns what is left of it.
local function give_up(claim, abandoned)
  if claim.outcome == 'abandon' then abandoned = abandoned + 1 end
  if abandoned > claim.max_abandoned then return remember(claim, 'k:' .. abandoned .. '@' .. claim.pinned_until) end
  if abandoned > 0 then return remember(claim, 'a:' .. abandoned) end
  redis.call('DEL', claim.nonce)
  redis.call('ZREM', claim.index, claim.nonce)
end

-- Voids a claim that may arrive yet, when it has been given up. Nobody would settle it once more, and it would reject
-- the retries of its sender for as long as it pins its nonce.
--
-- Who has one captured request can have any number of claims given up, so the number of marks is bounded. The oldest
-- goes first; if its claim does arrive, that rejects retries as said, and lets nothing pass. Ids of claims are never used
-- twice, so a mark that outlives its claim does no harm. Marks are numbered as they come: no clock changes their order.
local function mark(id)
  local newest = redis.call('ZRANGE', marks, -1, -1, 'WITHSCORES')
  redis.call('ZADD', marks, tonumber(newest[2] or 0) + 1, id)
  redis.call('ZREMRANGEBYRANK', marks, 0, -MAX_MARKS - 1)
  redis.call('PEXPIRE', marks, MARKS_MS)
end

local function settle(claim)
  local value = redis.call('GET', claim.nonce)
  local own = 'p:' .. claim.id .. ':'
  local is_own = value and string.sub(value, 1, #own) == own
  if claim.outcome == 'keep' then
    -- Also where the claim has lapsed, or never arrived: the upstream has accepted the request all the same.
    if is_own or not is_replay(value) then remember(claim, 'k@' .. claim.pinned_until) end
    return
  end
  if is_own then value = give_up(claim, tonumber(string.match(value, '^%d+', #own + 1)) or 0) end
  local may_arrive = not is_own or claim.calls == 'again'
  -- Where the nonce is kept, a late claim finds that, and claims nothing.
  local is_kept = value and string.sub(value, 1, 1) == 'k'
  if may_arrive and not is_kept then mark(claim.id) end
end

for place = 0, (#KEYS - 1) / 2 - 1 do
  local key, argument = 2 * place, 6 * place
  local pinned = tonumber(ARGV[argument + 3])
  settle({
    nonce = KEYS[key + 1], index = KEYS[key + 2], outcome = ARGV[argument + 1], id = ARGV[argument + 2],
    pinned = pinned, pinned_until = string.format('%.0f', now + pinned), keep = tonumber(ARGV[argument + 4]),
    max_abandoned = tonumber(ARGV[argument + 5]), calls = ARGV[argument + 6],
  })
end
return ARGV[#ARGV] .. ' settled'
