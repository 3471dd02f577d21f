// The examples for web frameworks, and what a receiver is helped with.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { Counters, MemorySeen, Receiver, TableSeen, Webhook, WebhookError } from "hookbus/webhooks";

const SECRET = "62268c7e-5fae-4c86-8a9f-f4c95da3a93b";
process.env.WEBHOOK_SECRET = SECRET;
const BODY = Buffer.from('{ "b":1, "a":"Zoë" }');
console.log = () => undefined;

function delivery(body = BODY, id = "evt_1") {
  const timestamp = String(Math.floor(Date.now() / 1000));
  const signature = createHmac("sha256", SECRET).update(`${id}.${timestamp}.`).update(body).digest("base64");
  return { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": `v1,${signature}`, "content-type": "application/json" };
}

/** A delivery, the same again, and one of another body: handled once, refused once. */
async function judge(post) {
  const handled = [];
  console.log = (...what) => handled.push(what);
  try {
    const statuses = [await post(BODY, delivery()), await post(BODY, delivery()), await post(Buffer.concat([BODY, Buffer.from(" ")]), delivery())];
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
  const event = await receiver.accept(BODY, delivery());
  await assert.rejects(receiver.processing(event, () => { throw new Error("planted"); }), /planted/);
  assert.ok(await receiver.accept(BODY, delivery()));
  assert.equal(await receiver.accept(BODY, delivery()), undefined);
  assert.deepEqual([receiver.counters.failed, receiver.counters.duplicates, receiver.counters.verified], [1, 1, 3]);
  assert.match(receiver.counters.text(), /webhooks_duplicates_total 1\n/);
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
