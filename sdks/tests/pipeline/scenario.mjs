// Every operation of the document once, and the page's lines, from Node. Reads its set-up as one line of JSON, prints what it called.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { ApiError, Hook0, Hookbus } from "hookbus";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const setup = JSON.parse((await lines.next()).value);
const done = new Set();
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const options = { baseUrl: setup.base, onAnswer: (operation) => done.add(operation) };

const admin = Hookbus(setup.admin_key, options);
for (const called of [admin.instance.get(), admin.instance.openapi(), admin.instance.swagger(), admin.errors.list(), admin.quotas.get()]) assert.ok(await called);
assert.ok((await admin.payloadContentTypes.list().all()).includes("application/json"));

const { organization_id } = await admin.organizations.create({ body: { name: "SDK for Node" } });
await admin.organizations.update({ organization_id, body: { name: "SDK in Node" } });
await admin.organizations.patch({ organization_id, body: { name: "SDK of Node" } });
assert.equal((await admin.organizations.get({ organization_id })).name, "SDK of Node");
assert.ok((await admin.organizations.list().all()).some((found) => found.organization_id === organization_id));

let { token_id: id } = await admin.serviceToken.create({ body: { organization_id, name: "for a test" } });
await admin.serviceToken.edit({ id, body: { organization_id, name: "edited" } });
await admin.serviceToken.patch({ id, body: { organization_id, name: "patched" } });
assert.equal((await admin.serviceToken.get({ id, organization_id })).name, "patched");
assert.equal((await admin.serviceToken.list({ organization_id }).all()).length, 1);
({ token_id: id } = await admin.serviceToken.rotate({ id, body: { organization_id } }));
await admin.serviceToken.delete({ id, organization_id });

const { application_id } = await admin.applications.create({ body: { organization_id, name: "SDK" } });
await admin.applications.update({ application_id, body: { organization_id, name: "SDK two" } });
await admin.applications.patch({ application_id, body: { name: "SDK three" } });
assert.equal((await admin.applications.get({ application_id })).name, "SDK three");
assert.equal((await admin.applications.list({ organization_id }).all()).length, 1);

let secret = await admin.applicationSecrets.create({ body: { application_id, name: "second" } });
await admin.applicationSecrets.update({ token: secret.token, body: { application_id, name: "renamed" } });
await admin.applicationSecrets.patch({ token: secret.token, body: { application_id, name: "again" } });
secret = await admin.applicationSecrets.rotate({ token: secret.token, body: { application_id } });
assert.ok((await admin.applicationSecrets.read({ application_id }).all()).length >= 2);

await admin.eventTypes.create({ body: { application_id, name: "invoice.paid" } });
await admin.eventTypes.create({ body: { application_id, name: "invoice.gone" } });
await admin.eventTypes.patch({ event_type_name: "invoice.paid", application_id, body: { description: "paid" } });
assert.equal((await admin.eventTypes.get({ event_type_name: "invoice.paid", application_id })).event_type_name, "invoice.paid");
await admin.eventTypes.delete({ event_type_name: "invoice.gone", application_id });
assert.equal((await admin.eventTypes.list({ application_id }).all()).length, 1);

const target = { type: "http", method: "POST", url: setup.receiver, headers: {} };
const made = await admin.subscriptions.create({ body: { application_id, is_enabled: true, event_types: ["invoice.paid"], labels: {}, target } });
const { subscription_id } = made;
await admin.subscriptions.update({ subscription_id, body: { application_id, description: "one" } });
await admin.subscriptions.patch({ subscription_id, application_id, body: { description: "two" } });
await admin.subscriptions.pause({ subscription_id, application_id });
await admin.subscriptions.resume({ subscription_id, application_id });
const rotated = await admin.subscriptions.rotateSecret({ subscription_id, body: { application_id, overlap_ms: 0 } });
assert.equal((await admin.subscriptions.get({ subscription_id, application_id })).description, "two");
assert.equal((await admin.subscriptions.list({ application_id }).all()).length, 1);
say({ secret: rotated.signing_secret });
await admin.subscriptions.ping({ subscription_id, application_id });

// The page's lines as they stand, but for token and application id; the address comes from HOOKBUS_URL.
process.env.HOOKBUS_URL = setup.base;
const page = readFileSync(setup.page, "utf8").replace("AUTH_TOKEN", secret.token).replace("app_id", application_id);
await new Function("Hook0", `return (async () => {${page}})()`)(Hook0);

const sender = new Hookbus(secret.token, options);
await sender.events.ingest({ body: { application_id, event_type: "invoice.paid", payload: { by: "operation" } } });
await sender.events.ingestBatch({ body: { events: [{ event_type: "invoice.paid", payload: { by: "batch" } }] } });
const messages = [0, 1, 2].map((n) => ({ event_type: "invoice.paid", payload: { n } }));
const results = await sender.message.createMany(application_id, [...messages, { event_type: "no.such", payload: {} }]);
assert.deepEqual(results.map(({ error }) => error?.id), [undefined, undefined, undefined, "EventTypeDoesNotExist"]);
const again = sender.message.create(application_id, { event_type: "invoice.paid", event_id: "evt_123", payload: {} });
await assert.rejects(again, (error) => error instanceof ApiError && error.is("EventAlreadyIngested") && error.requestId && error.status === 409);
say({ sent: 6 });
assert.equal((await lines.next()).value, "arrived");

// The delivery log follows its topic by some moments.
for (let tries = 0; ; tries += 1) {
  try {
    await admin.events.delete({ event_id: "evt_123", application_id });
    break;
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404 || tries > 300) throw error;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
assert.equal((await admin.events.get({ event_id: "evt_123", application_id, payload: false })).payload_state, "erased");

// Nothing has failed, so this job finds nothing, and sends nothing that the receiver would count.
const told = [];
const job = await admin.replays.create({ body: { application_id, filter: { outcome: ["failed"] } } });
assert.equal((await admin.jobs.wait(job, { progress: ({ state }) => told.push(state), timeoutMs: 60_000 })).counts.written, 0);
assert.equal(told.at(-1), "done");

const orders = { topics: ["sdk-for-node.orders"], wait_for_topic: true, format: "json", application: "{header:application}", type: "order.{value:/status}" };
const { source_id } = await admin.sources.create({ body: { organization_id, name: "orders", ...orders } });
assert.deepEqual((await admin.sources.get({ source_id })).topics, orders.topics);
await admin.sources.delete({ source_id });
const urls = ["http://127.0.0.1:9"];
const { schema_registry_id } = await admin.schemaRegistries.create({ body: { name: "for node", urls } });
assert.deepEqual((await admin.schemaRegistries.get({ schema_registry_id })).urls, urls);
await admin.schemaRegistries.delete({ schema_registry_id });
assert.equal((await admin.rejected.retry({ body: { reason: "unmapped" } })).kind, "retry_rejected");

// What nothing above has called, such as operations that are newer than this scenario: an answer that is no 5xx is a call that was understood.
for (const operation of JSON.parse(readFileSync(setup.operations, "utf8"))) {
  if (done.has(operation.id) || operation.id.endsWith(".delete")) continue;
  const [resource, verb] = operation.id.split(".");
  const args = {};
  for (const name of operation.path) args[name] = "00000000-0000-0000-0000-000000000000";
  for (const name of operation.query) args[name] = application_id;
  if (operation.body !== null) args.body = operation.body;
  try {
    const called = admin[resource][verb](args);
    await (operation.many ? called.all() : called);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status >= 500) throw error;
  }
}
await admin.subscriptions.delete({ subscription_id, application_id });
await admin.applicationSecrets.delete({ token: secret.token, application_id });
await admin.applications.delete({ application_id });
await admin.organizations.delete({ organization_id });
await admin.log.delete();
say({ done: [...done].sort() });
process.exit(0);
