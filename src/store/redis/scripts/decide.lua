-- Decides on one request: its rate limits, and whether it is the first of its kind.
--
-- KEYS  the bucket of each limit; then, for a claim, the nonce, the index of nonces, the void mark
-- ARGV  how many early limits, which count every request; how many in all: the others do not count a repeat;
--       for each: "take" or "peek", whom (hex), requests, window, resolution (both in ms), slots;
--       for a claim: its id, must (ms), keep (ms), capacity, "reject" or "evict_oldest", most abandoned;
--       at last whether this is the "first" attempt or "another", and what the answer begins with, so that it is known
--       whose it is
--
-- Answers one line, after that: "passed", "claimed <evicted> <age of the last one evicted>", "limited <which> <wait>",
-- "kept <ms left>", "never_answered <ms left>", "pending", "full" or "void".
--
-- In this order: the early limits, by all or by none; the look at the nonce; the other limits and the claim, all of it
-- or nothing. It is as if the early limits were asked for by a run of their own: what they have counted stays counted.
-- Nothing else is written unless all of it passes, but for a counter that had to be put right.
--
-- Asked once more for a claim that it has granted, because the answer went astray, it grants it again and counts nothing.
-- But each attempt may arrive late, when the claim is settled, and nobody would settle it once more. So another attempt
-- leaves the void mark, which takes effect once the claim is gone.
--
-- Time is Redis' own, so that the clocks of several Envoys need not agree.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function answer(line)
  return ARGV[#ARGV] .. ' ' .. line
end

-- Counters: as src/store/local/limiter.rs has them, where it is explained. A history is a flat list {moment, events,
-- moment, events …}, newest first; a bucket is {residue = history, entries = {{whom, since, inherited, history…} …}}.

local function rounded_up(rule)
  return math.ceil(now / rule.resolution) * rule.resolution
end

-- Whether something is from a clock that was ahead: of another Redis, before a failover.
local function is_ahead(moment, rule)
  return moment > rounded_up(rule) + rule.window
end

-- What of a list counts, from a place in it on.
local function trimmed(list, from, rule)
  local history, ahead = {}, false
  for place = from, #list, 2 do
    ahead = ahead or is_ahead(list[place], rule)
  end
  for place = from, #list, 2 do
    local moment = list[place]
    if ahead then moment = math.min(moment, rounded_up(rule)) end
    if moment + rule.window > now then
      history[#history + 1] = moment
      history[#history + 1] = list[place + 1]
    end
  end
  return history, ahead
end

local function append(history, moment, events)
  local last = #history
  if last > 0 and history[last - 1] == moment then
    history[last] = history[last] + events
  elseif events > 0 then
    history[last + 1] = moment
    history[last + 2] = events
  end
end

-- What counts for an entry: its own events, and before them what it inherited.
local function all_of(entry, residue)
  local all, left = {}, entry.inherited
  for place = 1, #entry.own, 2 do
    append(all, entry.own[place], entry.own[place + 1])
  end
  for place = 1, #residue, 2 do
    local events = math.min(residue[place + 1], left)
    left = left - events
    append(all, math.min(residue[place], entry.since), events)
  end
  return all
end

local function events_of(history)
  local events = 0
  for place = 2, #history, 2 do events = events + history[place] end
  return events
end

-- The history that is at least as bad as either: its n-th newest event is the newer one of theirs.
local function worse_of(left, right)
  local worse, l, r = {}, 1, 1
  local in_left, in_right = left[2] or 0, right[2] or 0
  while in_left > 0 or in_right > 0 do
    local events = math.min(in_left, in_right)
    if events == 0 then events = math.max(in_left, in_right) end
    append(worse, math.max(left[l] or 0, right[r] or 0), events)
    in_left, in_right = in_left - events, in_right - events
    if in_left <= 0 then l = l + 2; in_left = left[l + 1] or 0 end
    if in_right <= 0 then r = r + 2; in_right = right[r + 1] or 0 end
  end
  return worse
end

local function is_bucket(value)
  if type(value) ~= 'table' or type(value.residue) ~= 'table' or type(value.entries) ~= 'table' then
    return false
  end
  for _, number in ipairs(value.residue) do
    if type(number) ~= 'number' then return false end
  end
  for _, entry in ipairs(value.entries) do
    if type(entry) ~= 'table' or type(entry[1]) ~= 'string' or #entry % 2 == 0 then return false end
    for place = 2, #entry do
      if type(entry[place]) ~= 'number' then return false end
    end
  end
  return #value.residue % 2 == 0
end

local buckets = {}

-- Two rules of the same name have the same bucket: the second counts on top of the first.
local function bucket_of(key, rule)
  if buckets[key] then return buckets[key] end
  local bucket = {residue = {}, entries = {}, corrected = false, window = rule.window + rule.resolution}
  buckets[key] = bucket
  local text = redis.call('GET', key)
  if not text then return bucket end
  local read, value = pcall(cjson.decode, text)
  if not read or not is_bucket(value) then
    -- Whatever was lost, nothing passes that should not: everybody has just used up the limit.
    bucket.residue = {rounded_up(rule), rule.requests}
    bucket.corrected = true
    return bucket
  end
  bucket.residue, bucket.corrected = trimmed(value.residue, 1, rule)
  for _, stored in ipairs(value.entries) do
    local entry = {whom = stored[1], since = stored[2], inherited = stored[3]}
    local ahead
    entry.own, ahead = trimmed(stored, 4, rule)
    bucket.corrected = bucket.corrected or ahead
    if is_ahead(entry.since, rule) then entry.since = rounded_up(rule) end
    if entry.since + rule.window <= now then entry.inherited = 0 end
    if #entry.own > 0 or entry.inherited > 0 then
      bucket.entries[#bucket.entries + 1] = entry
    end
  end
  return bucket
end

local function write(key, bucket)
  local entries = {}
  for _, entry in ipairs(bucket.entries) do
    local stored = {entry.whom, entry.since, entry.inherited}
    for _, number in ipairs(entry.own) do stored[#stored + 1] = number end
    entries[#entries + 1] = stored
  end
  local text = cjson.encode({residue = bucket.residue, entries = entries})
  redis.call('SET', key, text, 'PX', bucket.window)
  bucket.corrected = false
end

local function entry_of(bucket, whom)
  for place, entry in ipairs(bucket.entries) do
    if entry.whom == whom then return entry, place end
  end
end

-- How long until one more passes; nil if it does now. For who only looks, what was inherited does not count.
local function wait_of(bucket, entry, rule)
  local history = bucket.residue
  if rule.op == 'peek' then
    history = entry and entry.own or {}
  elseif entry then
    history = all_of(entry, bucket.residue)
  end
  local seen = 0
  for place = 1, #history, 2 do
    seen = seen + history[place + 1]
    if seen >= rule.requests then
      local free = history[place] + rule.window
      if free > now then return free - now end
      return nil
    end
  end
end

-- Frees the slot of whoever has done least, and that the longest ago, and lets the residue remember it.
local function evict_the_least(bucket)
  local least, least_events, least_last
  for place, entry in ipairs(bucket.entries) do
    local events = events_of(entry.own) + entry.inherited
    local last = entry.own[1] or entry.since
    if not least or events < least_events or (events == least_events and last < least_last) then
      least, least_events, least_last = place, events, last
    end
  end
  local evicted = table.remove(bucket.entries, least)
  bucket.residue = worse_of(bucket.residue, all_of(evicted, bucket.residue))
end

local function count(bucket, entry, rule)
  local moment = rounded_up(rule)
  if not entry then
    -- What is evicted for it was never its own: it inherits what was there before.
    local inherited = events_of(bucket.residue)
    while #bucket.entries >= rule.slots do evict_the_least(bucket) end
    entry = {whom = rule.whom, since = moment, inherited = inherited, own = {}}
    bucket.entries[#bucket.entries + 1] = entry
  end
  local newest = entry.own[1]
  if newest and newest >= moment then
    entry.own[2] = entry.own[2] + 1
  else
    table.insert(entry.own, 1, 1)
    table.insert(entry.own, 1, moment)
  end
end

-- Counts by limits, by all of them or by none. Answers with one that is used up, or with the buckets to be written.
local function count_by(first, last)
  local counted = {}
  for which = first, last do
    local at = 3 + 6 * which
    local rule = {
      op = ARGV[at], whom = ARGV[at + 1], requests = tonumber(ARGV[at + 2]), window = tonumber(ARGV[at + 3]),
      resolution = tonumber(ARGV[at + 4]), slots = tonumber(ARGV[at + 5]),
    }
    local key = KEYS[which + 1]
    local bucket = bucket_of(key, rule)
    local entry = entry_of(bucket, rule.whom)
    local wait = wait_of(bucket, entry, rule)
    if wait then
      -- Not written, it would be put right again each time, and the wait would start anew.
      if bucket.corrected and not counted[key] then write(key, bucket) end
      return 'limited ' .. which .. ' ' .. wait
    end
    if rule.op == 'take' then
      count(bucket, entry, rule)
      counted[key] = bucket
    end
  end
  return nil, counted
end

local function write_all(counted)
  for key, bucket in pairs(counted) do write(key, bucket) end
end

local early = tonumber(ARGV[1])
local limits = tonumber(ARGV[2])

-- Nonces. A value is "k" (kept), "p:<id>:<abandoned>:<until>" (on its way; after that it counts as one whose sender
-- left), "a:<abandoned>" (its sender left) or "k:<abandoned>" (once too often). Each stays for as long as a kept one.

local claim
local is_claim = #KEYS > limits
local abandoned = 0
if is_claim then
  local first = 3 + 6 * limits
  claim = {
    nonce = KEYS[limits + 1], index = KEYS[limits + 2], void = KEYS[limits + 3],
    id = ARGV[first], must = tonumber(ARGV[first + 1]), keep = tonumber(ARGV[first + 2]),
    capacity = tonumber(ARGV[first + 3]), on_full = ARGV[first + 4], most_abandoned = tonumber(ARGV[first + 5]),
  }
end

-- For as long as settle.lua leaves it.
local function leave_void_mark()
  if ARGV[#ARGV - 1] == 'another' then redis.call('SET', claim.void, '1', 'PX', 600000) end
end

local value = is_claim and redis.call('GET', claim.nonce)
if value then
  local own = 'p:' .. claim.id .. ':'
  if string.sub(value, 1, #own) == own then
    leave_void_mark()
    return answer('claimed 0 0')
  end
end

-- Early limits count a repeat, too, and what they reject is looked at no further.
local limited, counted = count_by(0, early - 1)
if limited then return answer(limited) end
write_all(counted)

if is_claim then
  -- Given up before it arrived here: whoever asked no longer waits.
  if redis.call('EXISTS', claim.void) == 1 then return answer('void') end
  if value then
    local kind = string.sub(value, 1, 1)
    local left = math.max(redis.call('PTTL', claim.nonce), 1)
    if kind == 'p' then
      local times, till = string.match(value, '^p:[^:]*:(%d+):(%d+)$')
      if not till or tonumber(till) >= now then return answer('pending') end
      abandoned = tonumber(times) + 1
    elseif kind == 'a' then
      abandoned = tonumber(string.sub(value, 3)) or 0
    elseif string.sub(value, 1, 2) ~= 'k:' then
      return answer('kept ' .. left)
    end
    if kind == 'k' or abandoned > claim.most_abandoned then return answer('never_answered ' .. left) end
    claim.known = true
  end
end

-- A repeat is not counted: so these limits come after the look at the nonce, and before its claim.
limited, counted = count_by(early, limits - 1)
if limited then return answer(limited) end

local evicted, evicted_age = 0, 0
if is_claim and not claim.known then
  local room = claim.capacity - redis.call('ZCARD', claim.index)
  -- More than one goes where answers that came after their claims had lapsed were remembered above the capacity.
  for _ = 1, 16 do
    if room > 0 then break end
    local oldest = redis.call('ZRANGE', claim.index, 0, 0, 'WITHSCORES')
    if not oldest[1] then break end
    local must_until = tonumber(oldest[2])
    if must_until > now and claim.on_full ~= 'evict_oldest' then return answer('full') end
    redis.call('ZREM', claim.index, oldest[1])
    -- A key that was not declared, but in the same slot as those that were.
    local left = redis.call('PTTL', oldest[1])
    if redis.call('DEL', oldest[1]) == 1 then
      evicted = evicted + 1
      evicted_age = math.max(claim.keep - left, 0)
    end
    room = room + 1
  end
  if room <= 0 then return answer('full') end
end

write_all(counted)
if not is_claim then return answer('passed') end
local till = string.format('%.0f', now + claim.must)
local value = 'p:' .. claim.id .. ':' .. abandoned .. ':' .. till
redis.call('SET', claim.nonce, value, 'PX', math.max(claim.must, claim.keep))
redis.call('ZADD', claim.index, till, claim.nonce)
redis.call('PEXPIRE', claim.index, claim.must + claim.keep)
leave_void_mark()
return answer('claimed ' .. evicted .. ' ' .. evicted_age)
