-- Decides on one request: its rate limits, and whether it is the first of its kind.
--
-- KEYS  the bucket of each limit; then, for a claim, the nonce, the index of nonces, the marks of claims that were given up
-- ARGV  how many early limits, which count every request; how many in all: the others do not count a repeat;
--       for each: "take" or "peek", the hash of its key (hex), requests, window, resolution (both in ms), slots;
--       for a claim: its id, for how long it pins the nonce (ms), keep (ms), capacity, "reject" or "evict_oldest", the
--       most times that it may be abandoned;
--       at last what the reply begins with, so that it is known whose it is
--
-- Replies with one line, after that: "passed", "claimed <evicted> <age of the last one evicted>", "limited <which> <wait>",
-- "kept <ms left>", "never_answered <ms left>", "pending", "full" or "void".
--
-- In this order: the early limits, by all or by none; the look at the nonce; the other limits and the claim, all of it
-- or nothing. It is as if the early limits had a call of their own: what they have counted stays counted.
-- Nothing else is written unless all of it passes, but for a counter that had to be corrected.
--
-- Called once more for a claim that it has granted, because the reply went astray, it grants it again and counts nothing.
-- Such a call may also arrive when the claim is settled: for that, settle.lua leaves a mark.
--
-- Time is Redis' own, so that the clocks of several Envoys need not agree.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function reply(line)
  return ARGV[#ARGV] .. ' ' .. line
end

-- Counters: as src/store/local/limiter.rs has them, where they are explained. A log is a flat list {moment, events,
-- moment, events …}, newest first. A bucket is stored as {residue = log, entries = {{key hash, since, inherited, log…} …}}:
-- "residue" is the inherited floor, by its old name, so that versions of the filter can share a Redis.

local function rounded_up(rule)
  return math.ceil(now / rule.resolution) * rule.resolution
end

-- Whether something is from a clock that was ahead: of another Redis, before a failover.
local function is_ahead(moment, rule)
  return moment > rounded_up(rule) + rule.window
end

-- What of a list counts, from a place in it on.
local function trimmed(list, from, rule)
  local log, ahead = {}, false
  for place = from, #list, 2 do
    ahead = ahead or is_ahead(list[place], rule)
  end
  for place = from, #list, 2 do
    local moment = list[place]
    if ahead then moment = math.min(moment, rounded_up(rule)) end
    if moment + rule.window > now then
      log[#log + 1] = moment
      log[#log + 1] = list[place + 1]
    end
  end
  return log, ahead
end

local function push_older(log, moment, events)
  local last = #log
  if last > 0 and log[last - 1] == moment then
    log[last] = log[last] + events
  elseif events > 0 then
    log[last + 1] = moment
    log[last + 2] = events
  end
end

-- What counts for an entry: its own events, and before them what it inherited.
local function log_of(entry, floor)
  local all, left = {}, entry.inherited
  for place = 1, #entry.own, 2 do
    push_older(all, entry.own[place], entry.own[place + 1])
  end
  for place = 1, #floor, 2 do
    local events = math.min(floor[place + 1], left)
    left = left - events
    push_older(all, math.min(floor[place], entry.since), events)
  end
  return all
end

local function events_of(log)
  local events = 0
  for place = 2, #log, 2 do events = events + log[place] end
  return events
end

-- The log that is at least as bad as either: its n-th newest event is the newer one of theirs.
local function pointwise_max(left, right)
  local worst, l, r = {}, 1, 1
  local in_left, in_right = left[2] or 0, right[2] or 0
  while in_left > 0 or in_right > 0 do
    local events = math.min(in_left, in_right)
    if events == 0 then events = math.max(in_left, in_right) end
    push_older(worst, math.max(left[l] or 0, right[r] or 0), events)
    in_left, in_right = in_left - events, in_right - events
    if in_left <= 0 then l = l + 2; in_left = left[l + 1] or 0 end
    if in_right <= 0 then r = r + 2; in_right = right[r + 1] or 0 end
  end
  return worst
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
  local bucket = {inherited_floor = {}, entries = {}, corrected = false, window = rule.window + rule.resolution}
  buckets[key] = bucket
  local text = redis.call('GET', key)
  if not text then return bucket end
  local read, value = pcall(cjson.decode, text)
  if not read or not is_bucket(value) then
    -- Whatever was lost, nothing passes that should not: everybody has just used up the limit.
    bucket.inherited_floor = {rounded_up(rule), rule.requests}
    bucket.corrected = true
    return bucket
  end
  bucket.inherited_floor, bucket.corrected = trimmed(value.residue, 1, rule)
  for _, stored in ipairs(value.entries) do
    local entry = {key_hash = stored[1], since = stored[2], inherited = stored[3]}
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
    local stored = {entry.key_hash, entry.since, entry.inherited}
    for _, number in ipairs(entry.own) do stored[#stored + 1] = number end
    entries[#entries + 1] = stored
  end
  local text = cjson.encode({residue = bucket.inherited_floor, entries = entries})
  redis.call('SET', key, text, 'PX', bucket.window)
  bucket.corrected = false
end

local function entry_of(bucket, key_hash)
  for place, entry in ipairs(bucket.entries) do
    if entry.key_hash == key_hash then return entry, place end
  end
end

-- How long until one more passes; nil if it does now. For who only looks, what was inherited does not count.
local function wait_for(bucket, entry, rule)
  local log = bucket.inherited_floor
  if rule.op == 'peek' then
    log = entry and entry.own or {}
  elseif entry then
    log = log_of(entry, bucket.inherited_floor)
  end
  local seen = 0
  for place = 1, #log, 2 do
    seen = seen + log[place + 1]
    if seen >= rule.requests then
      local free = log[place] + rule.window
      if free > now then return free - now end
      return nil
    end
  end
end

-- Evicts the key that has done least, and that the longest ago, and folds what it had done into the floor.
local function evict_smallest(bucket)
  local smallest, smallest_events, smallest_last
  for place, entry in ipairs(bucket.entries) do
    local events = events_of(entry.own) + entry.inherited
    local last = entry.own[1] or entry.since
    if not smallest or events < smallest_events or (events == smallest_events and last < smallest_last) then
      smallest, smallest_events, smallest_last = place, events, last
    end
  end
  local evicted = table.remove(bucket.entries, smallest)
  bucket.inherited_floor = pointwise_max(bucket.inherited_floor, log_of(evicted, bucket.inherited_floor))
end

local function record(bucket, entry, rule)
  local moment = rounded_up(rule)
  if not entry then
    -- What is evicted for it was never its own: it inherits what was there before.
    local inherited = events_of(bucket.inherited_floor)
    while #bucket.entries >= rule.slots do evict_smallest(bucket) end
    entry = {key_hash = rule.key_hash, since = moment, inherited = inherited, own = {}}
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

-- Counts by limits, by all of them or by none. Returns one that is used up, or the buckets to be written.
local function check_and_count(first, last)
  local counted = {}
  for which = first, last do
    local at = 3 + 6 * which
    local rule = {
      op = ARGV[at], key_hash = ARGV[at + 1], requests = tonumber(ARGV[at + 2]), window = tonumber(ARGV[at + 3]),
      resolution = tonumber(ARGV[at + 4]), slots = tonumber(ARGV[at + 5]),
    }
    local key = KEYS[which + 1]
    local bucket = bucket_of(key, rule)
    local entry = entry_of(bucket, rule.key_hash)
    local wait = wait_for(bucket, entry, rule)
    if wait then
      -- Not written, it would be corrected again each time, and the wait would start anew.
      if bucket.corrected and not counted[key] then write(key, bucket) end
      return 'limited ' .. which .. ' ' .. wait
    end
    if rule.op == 'take' then
      record(bucket, entry, rule)
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

-- Nonces. A value is "k@<pinned until>" (kept), "p:<id>:<abandoned>:<pinned until>" (on its way; after that it counts as
-- one whose sender left), "a:<abandoned>" (its sender left) or "k:<abandoned>@<pinned until>" (once too often). Each stays
-- for as long as a kept one. The version before wrote "k" and "k:<abandoned>".

local claim
local is_claim = #KEYS > limits
local abandoned = 0
if is_claim then
  local first = 3 + 6 * limits
  claim = {
    nonce = KEYS[limits + 1], index = KEYS[limits + 2], marks = KEYS[limits + 3],
    id = ARGV[first], pinned = tonumber(ARGV[first + 1]), keep = tonumber(ARGV[first + 2]),
    capacity = tonumber(ARGV[first + 3]), on_full = ARGV[first + 4], max_abandoned = tonumber(ARGV[first + 5]),
  }
  claim.retention = math.max(claim.pinned, claim.keep)
end

-- Whether a nonce was written together with its place in this index: then both name the same moment. After a change of
-- a webhook's capacity it may be in two indices, and in the first one not be pinned any more: evicted with that one, a
-- repeat would pass. (Where its sender left, the value does not say it: evicted with the first one, its hang-ups are
-- counted anew. Versions before could not read it there.)
local function is_owned(value, pinned_until)
  local written = string.match(value, '^p:[^:]*:%d+:(%d+)$') or string.match(value, '@(%d+)$')
  return not written or tonumber(written) == pinned_until
end

-- Drops from the index what has expired, and returns how much. It looks at eight in a row of those that are not pinned,
-- and where is left to chance: at its beginning, those that are kept for long would gather.
local function drop_expired()
  local unpinned = redis.call('ZCOUNT', claim.index, '-inf', now)
  local most = math.min(unpinned, 8)
  if most == 0 then return 0 end
  local first = tonumber(time[2]) % (unpinned - most + 1)
  local nonces = redis.call('ZRANGE', claim.index, first, first + most - 1)
  if redis.call('EXISTS', unpack(nonces)) == #nonces then return 0 end
  local dropped = 0
  for _, nonce in ipairs(nonces) do
    if redis.call('EXISTS', nonce) == 0 then dropped = dropped + redis.call('ZREM', claim.index, nonce) end
  end
  return dropped
end

-- Makes room in the index: what has expired goes first, then the oldest. Returns how many nonces were evicted, and the
-- age of the last one; nothing where the oldest is pinned.
--
-- These keys were not declared, but are in the same slot as those that were. More than one has to go where requests that
-- Envoys have accepted by themselves were added above the capacity; of many, 16 at a time.
local function make_room()
  local evicted, evicted_age, has_looked = 0, 0, false
  local room = claim.capacity - redis.call('ZCARD', claim.index)
  for _ = 1, 16 do
    if room > 0 then break end
    local oldest = redis.call('ZRANGE', claim.index, 0, 0, 'WITHSCORES')
    local nonce, pinned_until = oldest[1], tonumber(oldest[2])
    if not nonce then break end
    if pinned_until > now and claim.on_full ~= 'evict_oldest' then return end
    local value = redis.call('GET', nonce)
    local dropped = 0
    if value and not has_looked then
      has_looked = true
      dropped = drop_expired()
    end
    if dropped == 0 then
      dropped = redis.call('ZREM', claim.index, nonce)
      if value and is_owned(value, pinned_until) then
        evicted = evicted + 1
        evicted_age = math.max(claim.retention - redis.call('PTTL', nonce), 0)
        redis.call('DEL', nonce)
      end
    end
    room = room + dropped
  end
  return evicted, evicted_age
end

local value = is_claim and redis.call('GET', claim.nonce)
if value then
  local own = 'p:' .. claim.id .. ':'
  if string.sub(value, 1, #own) == own then return reply('claimed 0 0') end
end

-- Early limits count a repeat, too, and what they reject is looked at no further.
local limited, counted = check_and_count(0, early - 1)
if limited then return reply(limited) end
write_all(counted)

if is_claim then
  -- Given up before it arrived here: its sender no longer waits.
  if redis.call('ZSCORE', claim.marks, claim.id) then return reply('void') end
  if value then
    local kind = string.sub(value, 1, 1)
    local left = math.max(redis.call('PTTL', claim.nonce), 1)
    if kind == 'p' then
      local times, pinned_until = string.match(value, '^p:[^:]*:(%d+):(%d+)$')
      if not pinned_until or tonumber(pinned_until) >= now then return reply('pending') end
      abandoned = tonumber(times) + 1
    elseif kind == 'a' then
      abandoned = tonumber(string.sub(value, 3)) or 0
    elseif string.sub(value, 1, 2) ~= 'k:' then
      return reply('kept ' .. left)
    end
    if kind == 'k' or abandoned > claim.max_abandoned then return reply('never_answered ' .. left) end
  end
end

-- A repeat is not counted: so these limits come after the look at the nonce, and before its claim.
limited, counted = check_and_count(early, limits - 1)
if limited then return reply(limited) end

local evicted, evicted_age = 0, 0
if is_claim and not value then
  evicted, evicted_age = make_room()
  if not evicted then return reply('full') end
end

write_all(counted)
if not is_claim then return reply('passed') end
local pinned_until = string.format('%.0f', now + claim.pinned)
local claimed = 'p:' .. claim.id .. ':' .. abandoned .. ':' .. pinned_until
redis.call('SET', claim.nonce, claimed, 'PX', claim.retention)
redis.call('ZADD', claim.index, pinned_until, claim.nonce)
-- The index outlives its nonces, also those of a webhook that keeps them for longer.
local outlives = claim.pinned + claim.keep
if redis.call('PTTL', claim.index) < outlives then redis.call('PEXPIRE', claim.index, outlives) end
return reply('claimed ' .. evicted .. ' ' .. evicted_age)
