-- What people write where they want Twilio's signature checked in Envoy and have nothing for it: HMAC-SHA1 in plain Lua over
-- the URL and the sorted form. Neither replays nor rates are looked at, and every form is taken as Lua's patterns read it.

local bit = require("bit")
local band, bnot, bor, bxor = bit.band, bit.bnot, bit.bor, bit.bxor
local rol, rshift, tobit = bit.rol, bit.rshift, bit.tobit
local byte, char, rep = string.byte, string.char, string.rep

local TOKEN = os.getenv("TWILIO_AUTH_TOKEN")
local URL = os.getenv("WEBHOOK_URL")

local function number_to_bytes(number)
  return char(band(rshift(number, 24), 255), band(rshift(number, 16), 255), band(rshift(number, 8), 255), band(number, 255))
end

local function sha1(message)
  local length = #message
  message = message .. "\128" .. rep("\0", (55 - length) % 64) .. number_to_bytes(0) .. number_to_bytes(length * 8)
  local h0, h1, h2, h3, h4 = 0x67452301, tobit(0xefcdab89), tobit(0x98badcfe), 0x10325476, tobit(0xc3d2e1f0)
  local w = {}
  for at = 1, #message, 64 do
    for i = 0, 15 do
      local b1, b2, b3, b4 = byte(message, at + i * 4, at + i * 4 + 3)
      w[i] = bor(b1 * 0x1000000, b2 * 0x10000, b3 * 0x100, b4)
    end
    for i = 16, 79 do
      w[i] = rol(bxor(w[i - 3], w[i - 8], w[i - 14], w[i - 16]), 1)
    end
    local a, b, c, d, e = h0, h1, h2, h3, h4
    for i = 0, 79 do
      local f, k
      if i < 20 then
        f, k = bor(band(b, c), band(bnot(b), d)), 0x5a827999
      elseif i < 40 then
        f, k = bxor(b, c, d), 0x6ed9eba1
      elseif i < 60 then
        f, k = bor(band(b, c), band(b, d), band(c, d)), 0x8f1bbcdc
      else
        f, k = bxor(b, c, d), 0xca62c1d6
      end
      a, b, c, d, e = tobit(rol(a, 5) + f + e + k + w[i]), a, rol(b, 30), c, d
    end
    h0, h1, h2, h3, h4 = tobit(h0 + a), tobit(h1 + b), tobit(h2 + c), tobit(h3 + d), tobit(h4 + e)
  end
  return number_to_bytes(h0) .. number_to_bytes(h1) .. number_to_bytes(h2) .. number_to_bytes(h3) .. number_to_bytes(h4)
end

-- The key is shorter than a block of 64 bytes. What both hashes begin with is made once.
local function padded(key, with)
  key = key .. rep("\0", 64 - #key)
  return (key:gsub(".", function(one)
    return char(bxor(byte(one), with))
  end))
end

local INNER, OUTER = padded(TOKEN, 0x36), padded(TOKEN, 0x5c)

local function hmac_sha1(message)
  return sha1(OUTER .. sha1(INNER .. message))
end

local function from_hex(digits)
  return char(tonumber(digits, 16))
end

local function decoded(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", from_hex))
end

local function signed_text(body)
  local names, values = {}, {}
  for name, value in body:gmatch("([^&=]+)=([^&]*)") do
    name = decoded(name)
    names[#names + 1] = name
    values[name] = decoded(value)
  end
  table.sort(names)
  local parts = {URL}
  for _, name in ipairs(names) do
    parts[#parts + 1] = name
    parts[#parts + 1] = values[name]
  end
  return table.concat(parts)
end

function envoy_on_request(handle)
  local signature = handle:headers():get("x-twilio-signature")
  local buffer = handle:body()
  local body = buffer and buffer:getBytes(0, buffer:length()) or ""
  if not signature or handle:base64Escape(hmac_sha1(signed_text(body))) ~= signature then
    handle:respond({[":status"] = "403"}, "Invalid Twilio signature")
  end
end
