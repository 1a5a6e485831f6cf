// Twilio's library for Node, asked over stdin: one JSON object a line, one answer a line.
// usage: node library.mjs DIRECTORY (the one that holds node_modules)

import { createRequire } from "node:module";
import { parse, stringify } from "node:querystring";
import { createInterface } from "node:readline";

const twilio = createRequire(process.argv[2] + "/")("twilio");

// As Express 4's urlencoded({ extended: false }) does it; its limit of 1000 parameters is left out.
const formOf = ({ contentType, body }) => {
  const type = (contentType ?? "").split(";")[0].trim().toLowerCase();
  if (type !== "application/x-www-form-urlencoded") return {};
  return parse(body.toString("utf8"), "&", "=", { maxKeys: 0 });
};

const judge = (request) => {
  const { secret, url, signature, body } = request;
  const incoming = {
    header: (name) => (name.toLowerCase() === "x-twilio-signature" ? signature : undefined),
    body: formOf(request),
    // What the usual `verify: (request, _, bytes) => { request.rawBody = bytes }` leaves; it is not called for no body.
    rawBody: body.length > 0 ? body : undefined,
  };
  try {
    return { accepts: twilio.validateIncomingRequest(incoming, secret, { url }) };
  } catch (error) {
    return { accepts: false, error: String(error) };
  }
};

// The URL as `new URL` respells it, with and without the library's second respelling of the query.
const respelled = (url) => {
  try {
    const { href } = new URL(url);
    const at = href.indexOf("?");
    if (at === -1 || at === href.length - 1) return [href];
    return [href, `${href.slice(0, at)}?${stringify(parse(href.slice(at + 1)))}`];
  } catch {
    return [];
  }
};

const answer = (request) => {
  request.body = Buffer.from(request.body, "base64");
  if (request.signature === undefined) {
    return { signature: twilio.getExpectedTwilioSignature(request.secret, request.url, formOf(request)) };
  }
  return { ...judge(request), respelled: respelled(request.url) };
};

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  process.stdout.write(JSON.stringify(answer(JSON.parse(line))) + "\n");
}
