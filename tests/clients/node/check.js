// The published Node client of Hook0, unmodified, against Hookbus.
//
// Speaks JSON lines with the test that runs it (see ../README.md): reads the set-up, says `done` for every operation and every
// check that held, and ends with an error at the first that did not.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { Event, Hook0Client, verifyWebhookSignature } from "hook0-client";

const JSON_TYPE = "application/json";
const TOLERANCE = 300;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const setup = JSON.parse(await line());
// This client resolves its paths against the address, so the address ends in a slash.
const base = `${setup.base}/`;

await eventTypes();
await events();
await problems();
await limits();
await mixed();
process.stdin.destroy();

// === What every check uses ===

async function line() {
  return (await lines.next()).value;
}

function say(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function done(name) {
  say({ done: name });
}

function event(id, payload = "{}", type = "billing.invoice.paid") {
  return new Event(type, payload, JSON_TYPE, { tenant: "acme" }, undefined, undefined, id);
}

/** What the client throws holds the problem as the API wrote it. */
async function refused(call, problem) {
  await assert.rejects(call, (error) => error.message.includes(`"id":"${problem}"`) || assert.fail(error));
}

// === Checks ===

async function eventTypes() {
  const client = new Hook0Client(base, setup.application_id, setup.secret);
  const fresh = `node.run.r${randomUUID().replaceAll("-", "")}`;
  assert.deepEqual(await client.upsertEventTypes(["billing.invoice.paid", fresh]), [fresh]);
  assert.deepEqual(await client.upsertEventTypes(["billing.invoice.paid", fresh]), []);
  done("upsert_event_types");
}

async function events() {
  const client = new Hook0Client(base, setup.application_id, setup.secret);
  const generated = await client.sendEvent(event(undefined, '{"made": "without"}'));
  await arrived(generated, '{"made": "without"}');
  done("send_event without id");
  const given = randomUUID();
  assert.equal(await client.sendEvent(event(given, '{"made": "with"}')), given);
  await arrived(given, '{"made": "with"}');
  done("send_event with id");
  done("verify_webhook_signature");
  await refused(client.sendEvent(event(given, '{"made": "with"}')), "EventAlreadyIngested");
  done("send_event repeated");
}

/** A receiver that verifies with the client takes what came, and nothing else. */
async function arrived(id, payload) {
  say({ ask: { path: `${setup.path}/events`, event_id: id } });
  const seen = JSON.parse(await line());
  const headers = new Headers(seen.headers);
  const body = Buffer.from(seen.body, "base64");
  const signature = headers.get("x-hook0-signature");
  assert.equal(body.toString(), payload);
  const secret = setup.subscription_secret;
  assert.ok(verifyWebhookSignature(signature, body, headers, secret, TOLERANCE));
  assert.throws(() => verifyWebhookSignature(signature, Buffer.concat([body, Buffer.from(" ")]), headers, secret, TOLERANCE));
  assert.throws(() => verifyWebhookSignature(signature, body, headers, randomUUID(), TOLERANCE));
}

async function problems() {
  const stranger = new Hook0Client(base, setup.application_id, randomUUID());
  await refused(stranger.sendEvent(event()), "AuthInvalidApplicationSecret");
  done("403 AuthInvalidApplicationSecret");
  const elsewhere = new Hook0Client(base, setup.limited.application_id, setup.secret);
  await refused(elsewhere.sendEvent(event()), "Forbidden");
  done("403 Forbidden");
  const client = new Hook0Client(base, setup.application_id, setup.secret);
  await refused(client.sendEvent(event(undefined, "{}", "no.such.type")), "EventTypeDoesNotExist");
  done("400 EventTypeDoesNotExist");
  await refused(client.sendEvent(event(undefined, "no json")), "EventInvalidJsonPayload");
  done("400 EventInvalidJsonPayload");
  await refused(client.sendEvent(event("x".repeat(129))), "Validation");
  done("422 Validation");
}

async function limits() {
  const client = new Hook0Client(base, setup.limited.application_id, setup.limited.secret);
  await refused(Promise.all(Array.from({ length: 100 }, () => client.sendEvent(event()))), "RateLimited");
  done("429 RateLimited");
}

async function mixed() {
  const client = new Hook0Client(base, setup.application_id, setup.secret);
  const id = `evt_node${randomUUID().slice(0, 8)}`;
  assert.equal(await client.sendEvent(event(id, "{}", "invoice.paid")), id, "it sends no Hook0-Client-Options: ids stay");
  done("mixed: evt_ ids");
}
