// What an application does itself where nothing in front of it checks: Express, express-rate-limit, Twilio's own
// library. The order is that of the system which the filter replaces: rate limiter, timestamp, nonce, signature,
// handler.
// usage: node server.cjs DIRECTORY PORT (the directory is the one that holds node_modules)
"use strict";

const { createHash } = require("node:crypto");
const { createRequire } = require("node:module");

const [directory, port] = process.argv.slice(2);
const installed = createRequire(directory + "/");
const express = installed("express");
const { rateLimit } = installed("express-rate-limit");
const twilio = installed("twilio");

const { TWILIO_AUTH_TOKEN, WEBHOOK_URL } = process.env;
const LIMIT = Number(process.env.RATE_LIMIT ?? 60);
const WINDOW = Number(process.env.RATE_LIMIT_WINDOW_MS ?? 60_000);
const CLOCK_SKEW = Number(process.env.TWILIO_CLOCK_SKEW_MS ?? 30_000);
const NONCE_WINDOW = Number(process.env.TWILIO_NONCE_WINDOW_MS ?? 300_000);

const refuse = (response, status, error) => response.status(status).json({ error });

const fresh = (request, response, next) => {
  const header = request.get("x-twilio-request-timestamp");
  if (header === undefined) return next();
  const age = Date.now() - Number(header) * 1000;
  if (!(age <= NONCE_WINDOW && age >= -CLOCK_SKEW)) return refuse(response, 400, "Request too old or from the future");
  next();
};

// A Map keeps the order in which it was filled, so what has expired is at its beginning.
const nonces = new Map();
setInterval(() => {
  const now = Date.now();
  for (const [nonce, expires] of nonces) {
    if (expires > now) break;
    nonces.delete(nonce);
  }
}, 1000).unref();

const unrepeated = (request, response, next) => {
  const signature = request.get("x-twilio-signature");
  if (signature === undefined) return refuse(response, 403, "Missing Twilio signature");
  const timestamp = request.get("x-twilio-request-timestamp") ?? "";
  const nonce = createHash("sha256").update(`${signature}:${timestamp}`).digest("hex");
  if (nonces.has(nonce)) return refuse(response, 409, "Replay attack");
  nonces.set(nonce, Date.now() + NONCE_WINDOW);
  next();
};

const signed = (request, response, next) => {
  const signature = request.get("x-twilio-signature");
  if (!twilio.validateRequest(TWILIO_AUTH_TOKEN, signature, WEBHOOK_URL, request.body)) {
    return refuse(response, 403, "Invalid Twilio signature");
  }
  next();
};

const app = express();
app.disable("x-powered-by");
// Behind Envoy (ext_authz) the client is the last address that Envoy has put into X-Forwarded-For.
app.set("trust proxy", 1);
app.post(
  new URL(WEBHOOK_URL).pathname,
  rateLimit({ windowMs: WINDOW, limit: LIMIT, standardHeaders: true, legacyHeaders: false }),
  fresh,
  unrepeated,
  express.urlencoded({ extended: false }),
  signed,
  (_, response) => response.type("text/xml").send("<Response></Response>"),
);

const server = app.listen(Number(port), "127.0.0.1");
// Connections stay open between two measurements, on either side.
server.keepAliveTimeout = 120_000;
