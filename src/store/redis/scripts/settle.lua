-- What the upstream's answers do to the nonces of accepted requests.
--
-- KEYS  for each: the nonce, the index of nonces, the void mark
-- ARGV  for each: "keep", "release" or "abandon", the claim's id, must (ms), keep (ms), most abandoned, whether the claim
--       was asked for "once" or "again";
--       at last a word that does not matter here, and what the answer begins with, so that it is known whose it is
--
-- Answers "settled", after that. To do it twice changes nothing, so that it can be sent again when no answer came.

-- For how long a claim that has been given up, and not arrived yet, is refused when it does. One that was asked for again may
-- arrive again.
local VOID_MS = 600000

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function remember(claim, value)
  redis.call('SET', claim.nonce, value, 'PX', math.max(claim.must, claim.keep))
  redis.call('ZADD', claim.index, now + claim.must, claim.nonce)
  redis.call('PEXPIRE', claim.index, claim.must + claim.keep)
end

-- Whether a repeat is refused: values are as decide.lua has them.
local function blocks(value)
  if not value or string.sub(value, 1, 1) == 'a' then return false end
  local till = string.match(value, '^p:[^:]*:%d+:(%d+)$')
  return not till or tonumber(till) >= now
end

for place = 0, #KEYS / 3 - 1 do
  local key, argument = 3 * place, 6 * place
  local claim = {
    nonce = KEYS[key + 1], index = KEYS[key + 2], void = KEYS[key + 3],
    outcome = ARGV[argument + 1], id = ARGV[argument + 2], must = tonumber(ARGV[argument + 3]),
    keep = tonumber(ARGV[argument + 4]), most_abandoned = tonumber(ARGV[argument + 5]),
    times = ARGV[argument + 6],
  }
  local value = redis.call('GET', claim.nonce)
  local own = 'p:' .. claim.id .. ':'
  if value and string.sub(value, 1, #own) == own then
    local abandoned = tonumber(string.match(value, '^%d+', #own + 1)) or 0
    if claim.outcome == 'keep' then
      remember(claim, 'k')
    elseif claim.outcome == 'abandon' then
      abandoned = abandoned + 1
      remember(claim, (abandoned <= claim.most_abandoned and 'a:' or 'k:') .. abandoned)
    elseif abandoned > 0 then
      remember(claim, 'a:' .. abandoned)
    else
      redis.call('DEL', claim.nonce)
      redis.call('ZREM', claim.index, claim.nonce)
    end
  elseif claim.outcome == 'keep' then
    -- The claim has lapsed, or never arrived; the upstream has accepted the request all the same.
    if not blocks(value) then remember(claim, 'k') end
  elseif claim.outcome == 'release' then
    redis.call('SET', claim.void, '1', 'PX', VOID_MS)
  end
  if claim.times == 'again' and claim.outcome ~= 'keep' then redis.call('SET', claim.void, '1', 'PX', VOID_MS) end
end
return ARGV[#ARGV] .. ' settled'
