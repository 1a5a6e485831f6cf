-- What the upstream's answers do to the nonces of accepted requests.
--
-- KEYS  for each: the nonce, the index of nonces, the void mark
-- ARGV  for each: "keep", "release" or "abandon", the claim's id, must (ms), keep (ms), most abandoned
--
-- Answers "settled". To do it twice changes nothing, so that it can be sent again when no answer came.

-- For how long a claim that has been given up, and not arrived yet, is refused when it does.
local VOID_MS = 600000

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function remember(claim, value, for_ms)
  redis.call('SET', claim.nonce, value, 'PX', for_ms)
  redis.call('ZADD', claim.index, now + claim.must, claim.nonce)
  redis.call('PEXPIRE', claim.index, claim.must + claim.keep)
end

for place = 0, #KEYS / 3 - 1 do
  local key, argument = 3 * place, 5 * place
  local claim = {
    nonce = KEYS[key + 1], index = KEYS[key + 2], void = KEYS[key + 3],
    outcome = ARGV[argument + 1], id = ARGV[argument + 2], must = tonumber(ARGV[argument + 3]),
    keep = tonumber(ARGV[argument + 4]), most_abandoned = tonumber(ARGV[argument + 5]),
  }
  local value = redis.call('GET', claim.nonce)
  local own = 'p:' .. claim.id .. ':'
  if value and string.sub(value, 1, #own) == own then
    local abandoned = tonumber(string.sub(value, #own + 1)) or 0
    if claim.outcome == 'abandon' and abandoned < claim.most_abandoned then
      remember(claim, 'a:' .. (abandoned + 1), claim.must)
    elseif claim.outcome ~= 'release' then
      remember(claim, 'k', math.max(claim.must, claim.keep))
    elseif abandoned > 0 then
      remember(claim, 'a:' .. abandoned, claim.must)
    else
      redis.call('DEL', claim.nonce)
      redis.call('ZREM', claim.index, claim.nonce)
    end
  elseif claim.outcome == 'keep' then
    -- The claim has lapsed, or never arrived; the upstream has accepted the request all the same.
    if not value or string.sub(value, 1, 1) == 'a' then remember(claim, 'k', math.max(claim.must, claim.keep)) end
  elseif claim.outcome == 'release' then
    redis.call('SET', claim.void, '1', 'PX', VOID_MS)
  end
end
return 'settled'
