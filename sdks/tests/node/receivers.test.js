// The examples for web frameworks, and what a receiver is helped with.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { runInNewContext } from "node:vm";
import { delivery, SECRET } from "./delivery.js";
import { Counters, MemorySeen, Receiver, StillProcessing, TableSeen, Webhook, WebhookError } from "hookbus/webhooks";

process.env.WEBHOOK_SECRET = SECRET;
const BODY = Buffer.from('{ "b":1, "a":"Zoë" }');
console.log = () => undefined;

/** A delivery, the same again, and one of another body: handled once, refused once. */
async function judge(post) {
  const handled = [];
  console.log = (...what) => handled.push(what);
  try {
    const statuses = [await post(BODY, delivery(BODY)), await post(BODY, delivery(BODY)), await post(Buffer.concat([BODY, Buffer.from(" ")]), delivery(BODY))];
    assert.deepEqual(statuses, [204, 204, 401]);
  } finally {
    console.log = () => undefined;
  }
  assert.deepEqual(handled, [[undefined, { b: 1, a: "Zoë" }]]);
}

test("Express", async () => {
  const { app } = await import("./examples/express.js");
  const server = await new Promise((resolve) => { const listening = app.listen(0, "127.0.0.1", () => resolve(listening)); });
  try {
    const url = `http://127.0.0.1:${server.address().port}/webhooks`;
    await judge(async (body, headers) => (await fetch(url, { method: "POST", body, headers })).status);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test("Fastify", async () => {
  const { app } = await import("./examples/fastify.js");
  await judge(async (payload, headers) => (await app.inject({ method: "POST", url: "/webhooks", payload, headers })).statusCode);
});

test("Next.js", async () => {
  const { POST } = await import("./examples/next.js");
  await judge(async (body, headers) => (await POST(new Request("http://h/webhooks", { method: "POST", body, headers }))).status);
});

test("an edge worker", async () => {
  const { default: worker } = await import("./examples/worker.js");
  const env = { WEBHOOK_SECRET: SECRET };
  await judge(async (body, headers) => (await worker.fetch(new Request("http://h/", { method: "POST", body, headers }), env)).status);
  assert.equal((await worker.fetch(new Request("http://h/"), env)).status, 405);
});

test("what could not be handled is taken again", async () => {
  const receiver = new Receiver(new Webhook(SECRET));
  const event = await receiver.accept(BODY, delivery(BODY));
  await assert.rejects(receiver.processing(event, () => { throw new Error("planted"); }), /planted/);
  assert.ok(await receiver.accept(BODY, delivery(BODY)));
  assert.equal(await receiver.accept(BODY, delivery(BODY)), undefined);
  assert.deepEqual([receiver.counters.failed, receiver.counters.duplicates, receiver.counters.verified], [1, 1, 3]);
  assert.match(receiver.counters.text(), /webhooks_duplicates_total 1\n/);
});

test("an attempt while the one before it is handled is not answered as taken", async () => {
  const receiver = new Receiver(new Webhook(SECRET));
  const first = receiver.processing(await receiver.accept(BODY, delivery(BODY)), async () => {
    await assert.rejects(receiver.accept(BODY, delivery(BODY)), StillProcessing);
    throw new Error("planted");
  });
  await assert.rejects(first, /planted/);
  await receiver.processing(await receiver.accept(BODY, delivery(BODY)), () => undefined);
  assert.equal(await receiver.accept(BODY, delivery(BODY)), undefined);
  assert.equal(receiver.counters.duplicates, 2);
});

test("a claim that cannot be given back does not hide that handling failed", async () => {
  const seen = { claim: () => true, release: () => { throw new Error("the transaction is broken"); } };
  const receiver = new Receiver(new Webhook(SECRET), seen);
  const event = await receiver.accept(BODY, delivery(BODY));
  await assert.rejects(receiver.processing(event, () => { throw new Error("planted"); }));
  assert.equal(receiver.counters.failed, 1);
});

test("a tolerance or time that is no number is refused", async () => {
  for (const toleranceSeconds of [NaN, Infinity, -1, "300"]) assert.throws(() => new Webhook(SECRET, { toleranceSeconds }), /toleranceSeconds/);
  for (const now of [NaN, Infinity, null]) await assert.rejects(new Webhook(SECRET).verify(BODY, delivery(BODY), now), /now is a number/);
});

test("bytes of another realm are bytes", async () => {
  const foreign = runInNewContext("new ArrayBuffer(2)");
  assert.ok(!(foreign instanceof ArrayBuffer));
  new Uint8Array(foreign).set(Buffer.from("{}"));
  assert.equal((await new Webhook(SECRET).verify(foreign, delivery(Buffer.from("{}")))).id, "evt_1");
});

test("memory has a limit, a table is asked", async () => {
  const memory = new MemorySeen(2);
  assert.deepEqual([..."abca"].map((id) => memory.claim(id)), [true, true, true, true]);
  assert.equal(memory.claim("c"), false);
  const rows = new Set();
  const table = new TableSeen((sql, [id]) => {
    if (!sql.startsWith("INSERT")) return Number(rows.delete(id));
    return rows.has(id) ? 0 : Number(rows.add(id) && 1);
  });
  assert.deepEqual([await table.claim("a"), await table.claim("a"), await table.release("a"), await table.claim("a")], [true, false, undefined, true]);
});

test("a delivery whose id nobody signed is refused", async () => {
  const counters = new Counters();
  const receiver = new Receiver(new Webhook(SECRET), new MemorySeen(), counters);
  const signature = `sha256=${createHmac("sha256", SECRET).update(BODY).digest("hex")}`;
  await assert.rejects(receiver.accept(BODY, { "X-Hook0-Signature": signature }), WebhookError);
  assert.deepEqual(counters.refused, { malformed: 1 });
});
