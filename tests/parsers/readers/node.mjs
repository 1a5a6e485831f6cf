// Reads forms with what Node and npm offer. See ../readers.rs for what comes in and what goes out.
// usage: node node.mjs DIRECTORY (the one that holds node_modules)

import { createRequire } from "node:module";
import { parse } from "node:querystring";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";

const require = createRequire(process.argv[2] + "/");
const busboy = require("busboy");
const fastQuerystring = require("fast-querystring");
const qs = require("qs");
const { urlencoded } = require("body-parser");

const hex = (text) => Buffer.from(text, "utf8").toString("hex");
const version = (name) => require(`${name}/package.json`).version;

// Lists stand for a name that occurs several times, objects for names with brackets: they are spelled with them again.
const flat = (value, name, pairs) => {
  if (Array.isArray(value)) for (const item of value) flat(item, typeof item === "object" ? `${name}[]` : name, pairs);
  else if (value && typeof value === "object") for (const key of Object.keys(value)) flat(value[key], `${name}[${key}]`, pairs);
  else pairs.push([hex(name), value === undefined || value === null ? null : hex(value)]);
  return pairs;
};
const top = (form) => Object.keys(form).flatMap((name) => flat(form[name], name, []));

const request = (body) => {
  const request = Readable.from([body]);
  const headers = { "content-type": "application/x-www-form-urlencoded", "content-length": String(body.length) };
  return Object.assign(request, { headers, method: "POST" });
};

const byExpress = (extended) => {
  const parse = urlencoded({ extended });
  return (body) =>
    new Promise((resolve, reject) => {
      const incoming = request(body);
      parse(incoming, {}, (error) => (error ? reject(error) : resolve(top(incoming.body ?? {}))));
    });
};

const byBusboy = (body) =>
  new Promise((resolve, reject) => {
    const incoming = request(body);
    const parser = busboy({ headers: incoming.headers });
    const pairs = [];
    parser.on("field", (name, value) => pairs.push([hex(name), hex(value)]));
    parser.on("close", () => resolve(pairs));
    parser.on("error", reject);
    incoming.pipe(parser);
  });

const readers = {
  querystring: (body) => top(parse(body.toString("utf8"))),
  URLSearchParams: (body) => [...new URLSearchParams(body.toString("utf8"))].map((pair) => pair.map(hex)),
  qs: (body) => top(qs.parse(body.toString("utf8"))),
  "Express simple": byExpress(false),
  "Express extended": byExpress(true),
  busboy: byBusboy,
  "fast-querystring": (body) => top(fastQuerystring.parse(body.toString("utf8"))),
};

const versions = {
  querystring: `Node.js ${process.versions.node}`,
  URLSearchParams: `Node.js ${process.versions.node}`,
  qs: version("qs"),
  "Express simple": `body-parser ${version("body-parser")}`,
  "Express extended": `body-parser ${version("body-parser")}`,
  busboy: version("busboy"),
  "fast-querystring": version("fast-querystring"),
};
process.stdout.write(JSON.stringify(versions) + "\n");

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const body = Buffer.from(line, "hex");
  const answer = {};
  for (const [name, read] of Object.entries(readers)) {
    try {
      answer[name] = await read(body);
    } catch (error) {
      answer[name] = String(error);
    }
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
