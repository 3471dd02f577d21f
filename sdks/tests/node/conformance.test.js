// The vectors of sdks/conformance, with the package that was installed, as ES module and as CommonJS.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import * as esm from "hookbus";
import * as esmWebhooks from "hookbus/webhooks";

const require = createRequire(import.meta.url);
const forms = [["esm", esm, esmWebhooks], ["cjs", require("hookbus"), require("hookbus/webhooks")]];
const read = (name) => JSON.parse(readFileSync(join(process.env.CONFORMANCE, `${name}.json`), "utf8"));
const retry = { totalMs: 5000, perTryMs: 5000, firstMs: 1, longestMs: 2 };

async function signature({ Webhook, WebhookError }, vector) {
  const body = vector.body_base64 ? Buffer.from(vector.body_base64, "base64") : Buffer.from(vector.body);
  const webhook = new Webhook(vector.secrets, { toleranceSeconds: vector.tolerance ?? 300, requireTimestamp: vector.require_timestamp ?? false });
  try {
    const event = await webhook.verify(body, vector.headers, vector.now);
    const told = { signed_by: event.signedBy, id: event.id ?? null, timestamp: event.timestamp ?? null };
    assert.deepEqual(told, vector.accepted && { ...vector.accepted }, vector.name);
    assert.deepEqual(Buffer.from(event.body), body);
  } catch (error) {
    if (!(error instanceof WebhookError)) throw error;
    assert.equal(error.reason, vector.refused, `${vector.name}: ${error.message}`);
  }
}

function script(answers) {
  const requests = [];
  const fetch = async (url, init) => {
    requests.push({ url: new URL(url), ...init });
    const answer = answers[requests.length - 1];
    if (answer.fail === "timeout") throw new DOMException("planted", "TimeoutError");
    if (answer.fail === "connection") throw new TypeError("fetch failed", { cause: { code: "ECONNRESET" } });
    const told = answer.body.includes("${id}") ? answer.body.replace("${id}", JSON.parse(init.body).event_id) : answer.body;
    const body = answer.status === 204 ? null : told.repeat(answer.repeat ?? 1);
    return new Response(body, { status: answer.status, headers: answer.headers });
  };
  return { requests, fetch };
}

const message = ({ payload, payload_raw, ...fields }, { rawJson }) => ({ ...fields, payload: payload_raw ? rawJson(payload_raw) : JSON.parse(payload) });

async function sending(sdk, vector) {
  const { application_id } = read("sending");
  const { requests, fetch } = script(vector.answers);
  const client = sdk.Hookbus("the-token", { baseUrl: "http://h.example/api/v1/", retry, fetch, maxAnswerBytes: 65536 });
  let outcome;
  try {
    outcome = vector.messages
      ? await client.message.createMany(application_id, vector.messages.map((given) => message(given, sdk)))
      : await client.message.create(application_id, message(vector.message, sdk));
  } catch (error) {
    if (!(error instanceof sdk.HookbusError)) throw error;
    outcome = error;
  }
  if (outcome instanceof Error) {
    const { kind, request_id, retry_after, ...wanted } = vector.error ?? {};
    assert.ok(kind && outcome.constructor === sdk.errors[kind], `${vector.name}: ${outcome}`);
    assert.ok(outcome.name === kind && outcome instanceof sdk.HookbusError);
    for (const [name, value] of Object.entries(wanted)) assert.equal(outcome[name], value, `${vector.name}: ${name}`);
    if (request_id) assert.equal(outcome.requestId, request_id);
    if (retry_after) assert.equal(outcome.retryAfter, retry_after);
    assert.ok(!`${outcome.stack} ${JSON.stringify(outcome)}`.includes("the-token"));
  } else if (vector.messages) {
    const told = outcome.map(({ error }) => (error ? error.id ?? error.name : "ok"));
    assert.deepEqual(told, vector.results, vector.name);
    assert.deepEqual(outcome.map(({ event_id }) => event_id), vector.messages.map(({ event_id }) => event_id));
  } else {
    const wanted = vector.message_out?.event_id === "${id}" ? { ...vector.message_out, event_id: JSON.parse(requests[0].body).event_id } : vector.message_out;
    assert.deepEqual(outcome, wanted, vector.name);
  }
  assert.equal(requests.length, vector.requests.length, `${vector.name}: requests`);
  let made;
  for (const [index, request] of requests.entries()) {
    const wanted = vector.requests[index];
    assert.equal(request.headers.authorization, "Bearer the-token");
    assert.equal(request.redirect, "manual", "a redirect would be sent the token");
    assert.deepEqual([request.method, request.url.pathname], [wanted.method, wanted.path]);
    if (wanted.body.includes("${id}")) made ??= JSON.parse(request.body).event_id;
    const body = wanted.body.replace("${id}", made);
    // The order of fields is each language's own; what is inside the payload is not.
    assert.deepEqual(JSON.parse(request.body), { ...JSON.parse(body), ...vector.fields }, vector.name);
    const payload = vector.message?.payload_raw ?? vector.message?.payload;
    if (payload) assert.ok(request.body.includes(`"payload":${payload}`), `${vector.name}: ${request.body}`);
  }
}

for (const [form, sdk, webhooks] of forms) {
  for (const vector of read("signatures").vectors) test(`${form} signature: ${vector.name}`, () => signature(webhooks, vector));
  for (const vector of read("standard-webhooks").vectors) test(`${form} Standard Webhooks: ${vector.name}`, () => signature(webhooks, vector));
  for (const vector of read("sending").vectors) test(`${form} sending: ${vector.name}`, () => sending(sdk, vector));
}

test("pages", async () => {
  for (const vector of read("pages").vectors) {
    const urls = [];
    const fetch = async (url) => {
      urls.push(url);
      return new Response("[1]", { headers: vector.link && urls.length === 1 ? { link: vector.link } : {} });
    };
    const client = esm.Hookbus("t", { baseUrl: "https://h.example", fetch });
    client.subscriptions.sender.url = () => vector.url;
    const pages = client.subscriptions.list({ application_id: "a" });
    if (vector.error) {
      await assert.rejects(pages.all(), esm.BadAnswer, vector.name);
      assert.equal(urls.length, 1);
    } else {
      await pages.all();
      assert.equal(urls[1] ?? null, vector.next, vector.name);
    }
  }
});

for (const chain of read("pages").chains) {
  test(`pages: ${chain.name}`, async () => {
    let left = 50;
    const fetch = async (url) => {
      assert.ok(left-- > 0, "there is no end");
      const cursor = new URL(url).searchParams.get("cursor") ?? "";
      const next = chain.next[cursor];
      return Response.json([cursor], { headers: next ? { link: `</api/v1/subscriptions?cursor=${next}>; rel="next"` } : {} });
    };
    const pages = esm.Hookbus("t", { baseUrl: "https://h.example", fetch, retry: { totalMs: 0 } }).subscriptions.list({ application_id: "a" });
    for (const _again of [1, 2]) { // each iteration has a way of its own
      const told = [];
      const walk = async () => { for await (const item of pages) told.push(item); };
      await (chain.error ? assert.rejects(walk(), esm.errors[chain.error]) : walk());
      assert.deepEqual(told, chain.asked);
    }
  });
}

test("Retry-After", async () => {
  for (const vector of read("retry-after").vectors) {
    const headers = vector.value === null ? {} : { "retry-after": vector.value };
    const fetch = async () => new Response("{}", { status: 400, headers });
    const now = Date.now;
    Date.now = () => vector.now * 1000;
    try {
      const failed = esm.Hookbus("t", { baseUrl: "https://h.example", fetch }).instance.get();
      await assert.rejects(failed, (error) => (error.retryAfter ?? null) === vector.seconds, vector.name);
    } finally {
      Date.now = now;
    }
  }
});

test("an error planted in ten vectors is found", async () => {
  const accepted = read("signatures").vectors.filter((vector) => vector.accepted && (vector.body ?? "").length > 5).slice(0, 5);
  for (const vector of accepted) {
    const body = `${vector.body.slice(0, -1)}!`;
    await assert.rejects(signature(esmWebhooks, { ...vector, body }), assert.AssertionError);
  }
  for (const vector of read("sending").vectors.slice(0, 5)) {
    const requests = vector.requests.map((wanted) => ({ ...wanted, body: wanted.body.replace("event_type", "planted") }));
    await assert.rejects(sending(esm, { ...vector, requests }), assert.AssertionError);
  }
});

test("text in place of bytes is refused with words", async () => {
  const webhook = new esmWebhooks.Webhook("secret");
  for (const body of ["{}", { a: 1 }, null]) await assert.rejects(webhook.verify(body, {}), /raw bytes/);
});

test("secrets are in no message and no view", async () => {
  for (const secret of ["whsec_not*base64", "whsk_abcdefgh", "whsec_c2hvcnQ=", "v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]) {
    assert.throws(() => new esmWebhooks.Webhook(secret), (error) => !String(error).includes(secret));
  }
  for (const secret of [undefined, null, "", [], [undefined]]) assert.throws(() => new esmWebhooks.Webhook(secret), /secret/);
  await assert.rejects(new esmWebhooks.Webhook("secret").verify(new Uint8Array()), /headers of the request/);
  const { inspect } = await import("node:util");
  assert.equal(inspect(esm.Hookbus("the-very-token", { baseUrl: "http://h" })), "Hookbus(http://h)");
  const seen = inspect([new esmWebhooks.Webhook("the-very-secret"), esm.Hookbus("the-very-token", { baseUrl: "http://h" })], { depth: 9, showHidden: true });
  assert.ok(!/the-very/.test(seen), seen);
});

test("a code stands in every error, a newer one too", () => {
  const ids = Object.keys(esm.errors.BY_ID);
  assert.ok(ids.length > 40);
  for (const id of ids) {
    for (const code of ["taken", "newer"]) {
      const error = new esm.errors[id](409, { id, code });
      assert.ok(error.code === code && error.hasCode(code) && !error.hasCode("repeat"), id);
    }
    assert.ok(!new esm.errors[id](409, { id }).hasCode("taken"));
  }
});

test("a client is made with and without new", () => {
  const [plain, made] = [esm.Hook0("t", { baseUrl: "http://h" }), new esm.Hookbus("t", { baseUrl: "http://h" })];
  assert.ok(plain instanceof esm.Hookbus && made instanceof esm.Hook0);
  assert.throws(() => esm.Hookbus("t"), /HOOKBUS_URL/);
  assert.throws(() => esm.Hookbus("a\nb", { baseUrl: "http://h" }), /visible ASCII/);
});

test("a POST that is no event carries one key for all its tries", async () => {
  const { requests, fetch } = script([{ fail: "timeout" }, { status: 201, headers: {}, body: "{}" }]);
  await esm.Hookbus("t", { baseUrl: "http://h", fetch, retry }).applications.create({ body: { name: "n", organization_id: "o" } });
  const keys = requests.map(({ headers }) => headers["idempotency-key"]);
  assert.ok(keys[0].length > 20 && keys[0] === keys[1]);
});

test("a key of the caller is the one that goes out", async () => {
  const { requests, fetch } = script([{ status: 202, headers: {}, body: "{}" }]);
  await esm.Hookbus("t", { baseUrl: "http://h", fetch, retry }).replays.create({ body: { application_id: "a" }, idempotency_key: "mine" });
  assert.equal(new Headers(requests[0].headers).get("idempotency-key"), "mine");
});

test("raw JSON is one value and reaches into nothing around it", () => {
  for (const text of ['{},"event_type":"x"', '{}},{"application_id":"other","payload":{}', "NaN", "1 2", "", " "]) {
    assert.throws(() => esm.rawJson(text), { name: "TypeError", message: /one JSON value/ });
  }
  for (const text of ["9".repeat(10_000), "1e999", ' {"a":1, "a":2} ']) assert.equal(esm.rawJson(text).text, text);
});

test("a signal ends a call and its pauses", async () => {
  const ended = new AbortController();
  const fetch = async () => {
    ended.abort();
    return new Response("", { status: 503, headers: { "retry-after": "20" } });
  };
  const call = esm.Hookbus("t", { baseUrl: "http://h", fetch }).instance.get({}, { signal: ended.signal });
  await assert.rejects(call, { name: "AbortError" });
});
