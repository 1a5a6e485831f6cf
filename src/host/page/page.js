"use strict";
// What is shown comes from `answer`, which is the filter's own code; here it is only laid out. Text goes into the page as
// text, never as HTML.
(() => {
  const at = (id) => document.getElementById(id);
  const bytes = Uint8Array.from(atob(MODULE), (letter) => letter.charCodeAt(0));
  const ready = wasm_bindgen({ module_or_path: bytes });

  const ask = async (question) => {
    await ready;
    return JSON.parse(wasm_bindgen.answer(JSON.stringify(question), Date.now()));
  };

  /** An element with attributes and children; a text is a child, too. */
  const made = (name, attributes, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };

  const key = () => ({
    url: at("url").value, secret: at("secret").value, shared_key: at("shared-key").value, account: at("account").value,
  });

  const show = (place, ...elements) => {
    place.replaceChildren(...elements);
    place.focus({ preventScroll: true });
    place.scrollIntoView({ block: "nearest" });
  };

  const problem = (text) => made("p", { class: "problem" }, text);

  const table = (rows) => {
    const isKnown = rows.some((row) => row.twilio !== null);
    const differs = rows.some((row) => !row.same);
    const columns = differs ? ["the filter signs", "what was signed"] : ["the filter signs"];
    const head = made("tr", {}, ...["part", ...columns].map((text) => made("th", { scope: "col" }, text)));
    const body = rows.map((row) => {
      const cells = [row.filter ?? "(nothing)"];
      if (differs) cells.push(row.same ? "the same" : (row.twilio ?? "(nothing)"));
      const filled = cells.map((text, index) => made("td", { "data-column": columns[index] }, text));
      return made("tr", row.same ? {} : { class: "differs" }, made("th", { scope: "row" }, (row.same ? "" : "≠ ") + row.part), ...filled);
    });
    const caption = made("caption", {}, "What is signed, part by part");
    const note = isKnown ? [] : [made("p", {}, "What Twilio signed is not known: nothing that was tried makes the signature.")];
    return [made("table", {}, caption, made("thead", {}, head), made("tbody", {}, ...body)), ...note];
  };

  const explained = (one) => {
    const isGood = one.passes && !one.monitored;
    const word = isGood ? "✓ passes" : one.monitored ? "✗ passes, since the mode is monitor; else rejected" : "✗ rejected";
    const head = made("p", { class: `verdict ${isGood ? "passes" : "rejected"}` }, `${word}: ${one.status} ${one.verdict}`);
    const facts = [`${one.method} ${one.path}`.trim(), one.key && `signed by the key ${one.key}`, one.account_sid && `of the account ${one.account_sid}`];
    return made(
      "section", {}, made("h3", {}, facts.filter(Boolean).join(", ")), head, made("p", {}, one.message),
      ...(one.hint === null ? [] : [made("h3", {}, "The filter's hint"), made("p", { class: "hint" }, one.hint)]),
      ...(one.advice === null ? [] : [made("h3", {}, "What it means"), made("p", {}, one.advice)]),
      ...(one.signed.length === 0 ? [] : table(one.signed)),
      ...one.notes.map((text) => made("p", {}, `Note: ${text}`)),
    );
  };

  /** Runs `work` when the form is sent, by the button or by Ctrl and Enter. */
  const onSubmit = (id, place, work) => {
    at(id).addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        const answer = await work();
        show(place, ...(answer.error === undefined ? answer.elements : [problem(answer.error)]));
      } catch (error) {
        show(place, problem(`This page has failed: ${error}. Please report it.`));
      }
    });
    at(id).addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at(id).requestSubmit();
    });
  };

  onSubmit("explain", at("explanation"), async () => {
    const answer = await ask({
      action: "explain", ...key(), request: at("request").value, format: at("format").value, at: at("at").value, config: at("config").value,
      show_data: at("show-data").checked,
    });
    if (answer.error !== undefined) return answer;
    const notes = answer.notes.map((text) => made("p", {}, `Note: ${text}`));
    return { elements: [...notes, ...answer.requests.map(explained)] };
  });

  onSubmit("sign", at("signed"), async () => {
    const answer = await ask({
      action: "sign", ...key(), kind: at("kind").value, parameters: at("parameters").value, body: at("body").value,
    });
    if (answer.error !== undefined) return answer;
    const headers = Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}`);
    const shown = (title, text) => [made("h3", {}, title), made("pre", {}, text)];
    return {
      elements: [
        ...shown("Headers", headers.join("\n")), ...shown("URL that is called", `${answer.method} ${answer.url}`),
        ...shown("As a command", answer.curl), ...shown("The string that is signed", answer.string),
      ],
    };
  });

  at("kind").addEventListener("change", () => {
    const kind = at("kind").value;
    at("parameters-field").hidden = kind === "json" || kind === "websocket";
    at("body-field").hidden = kind !== "json";
  });

  at("show-secret").addEventListener("change", () => {
    at("secret").type = at("show-secret").checked ? "text" : "password";
  });

  // A shop's URL that ends in a slash at Twilio and not here: one of the usual mistakes.
  at("example").addEventListener("click", async () => {
    at("url").value = "https://orders.example.com/webhook";
    at("secret").value = "8f1c0de5a7b94c2299d0aa1122334455";
    const signed = await ask({
      action: "sign", url: "https://orders.example.com/webhook/", secret: at("secret").value, parameters: "From=whatsapp:+15550001111\nBody=2 tacos",
    });
    at("request").value = [
      "POST /webhook HTTP/1.1", "Host: orders.example.com", `X-Twilio-Signature: ${signed.headers["x-twilio-signature"]}`,
      "Content-Type: application/x-www-form-urlencoded", "", "From=whatsapp%3A%2B15550001111&Body=2+tacos",
    ].join("\n");
    at("explain").requestSubmit();
  });

  // For tests of the page.
  window.ask = ask;
})();
