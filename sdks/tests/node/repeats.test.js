// What is sent again, what a repeat's refusal means, and what an error says.
import assert from "node:assert/strict";
import { test } from "node:test";
import { errors, Hookbus } from "hookbus";

const there = { id: "EventAlreadyIngested", status: 409, detail: "it is there" };
const limited = { id: "RateLimited", status: 429, detail: "later" };
const broken = { id: "InternalServerError", status: 500, detail: "it broke" };
const ofOne = (problem) => () => Response.json({ results: [{ problem }] });
const all = ({ events }) => Response.json({ results: events.map(({ event_id }) => ({ event_id })) });
const gone = { id: "NotFound", status: 404, detail: "there is none" };
const lost = () => { throw new TypeError("fetch failed"); };

/** Answers by the number of the call, and remembers what was asked. */
function scripted(...answers) {
  const bodies = [];
  const fetch = async (_url, init) => {
    bodies.push(init.body && JSON.parse(init.body));
    const answer = answers[bodies.length - 1];
    return typeof answer === "function" ? answer(bodies.at(-1)) : answer;
  };
  return { bodies, client: Hookbus("t", { baseUrl: "http://h", fetch, retry: { totalMs: 5_000, firstMs: 1, longestMs: 1 } }) };
}

test("an event of events.ingest gets its id before the first try", async () => {
  const { bodies, client } = scripted(lost, Response.json(there, { status: 409 }));
  const body = { application_id: "a", event_type: "x.y", payload: {} };
  const sent = await client.events.ingest({ body });
  assert.deepEqual(bodies[0], bodies[1]);
  assert.deepEqual(sent, { application_id: "a", event_id: bodies[0].event_id });
  assert.ok(!("event_id" in body), "what was given is as it was");
});

test("an event that was there before the first try is an error", async () => {
  const { client } = scripted(Response.json(there, { status: 409 }));
  await assert.rejects(client.events.ingest({ body: { event_id: "e", event_type: "x.y", payload: {} } }), errors.EventAlreadyIngested);
});

test("events of a batch get theirs", async () => {
  const refused = { problem: { id: "EventTypeDoesNotExist", status: 400 } };
  const results = [{ problem: there }, refused, { application_id: "a", event_id: "e2", received_at: "now" }];
  const { bodies, client } = scripted(lost, Response.json({ results }));
  const events = [{ event_type: "x.y", payload: 0 }, { event_type: "x.y", payload: 1 }, { event_type: "x.y", payload: 2, event_id: "e2" }];
  const told = await client.events.ingestBatch({ body: { events } });
  assert.deepEqual(bodies[0], bodies[1]);
  assert.deepEqual(told.results, [{ event_id: bodies[0].events[0].event_id }, refused, results[2]]);
});

test("what cannot be written is told, and the others go out", async () => {
  const { bodies, client } = scripted(all, all);
  const messages = Array.from({ length: 1500 }, (_, n) => ({ event_type: "x.y", payload: n, event_id: `e${n}` }));
  messages[1200] = { event_type: "x.y", payload: 1n, event_id: "e1200" };
  const circle = {};
  circle.circle = circle;
  messages[1300] = { event_type: "x.y", payload: circle, event_id: "e1300" };
  const results = await client.message.createMany("a", messages);
  assert.deepEqual(bodies.map(({ events }) => events.length), [1000, 498]);
  assert.deepEqual(results.map(({ event_id }) => event_id), messages.map(({ event_id }) => event_id));
  assert.deepEqual(results.flatMap(({ error }, place) => (error ? [place, error.name] : [])), [1200, "InvalidMessage", 1300, "InvalidMessage"]);
});

test("an event that may have arrived tells its id", async () => {
  const sent = [];
  const fetch = async (_url, { body }) => { sent.push(JSON.parse(body)); return lost(); };
  const failed = Hookbus("t", { baseUrl: "http://h", fetch, retry: { totalMs: 0 } }).message.create("a", { event_type: "x.y", payload: 1 });
  await assert.rejects(failed, (error) => error instanceof errors.ConnectionFailed && error.event_id === sent[0].event_id);
});

test("what was sent before the signal is not lost sight of", async () => {
  const ended = new AbortController();
  const { bodies, client } = scripted(all, (body) => { ended.abort(); return all(body); });
  const messages = Array.from({ length: 3500 }, (_, n) => ({ event_type: "x.y", payload: n, event_id: `e${n}` }));
  const results = await client.message.createMany("a", messages, { signal: ended.signal });
  assert.deepEqual(results.map(({ event_id }) => event_id), messages.map(({ event_id }) => event_id));
  assert.ok(bodies.length === 2 && results.slice(0, 1000).every(({ message }) => message) && results[3499].error instanceof errors.Aborted);
  assert.equal(results[1000].error.cause.name, "AbortError");
});

test("the signal ends the pause of what waits", async () => {
  const ended = new AbortController();
  const { client } = scripted(() => { setTimeout(() => ended.abort(), 1); return ofOne(limited)(); });
  client.message.sender.retry.firstMs = client.message.sender.retry.longestMs = 4_000;
  const [{ event_id, error }] = await client.message.createMany("a", [{ event_type: "x.y", payload: 1, event_id: "e" }], { signal: ended.signal });
  assert.ok(event_id === "e" && error instanceof errors.Aborted);
});

test("the refusal of one event does not stop the others", async () => {
  const { bodies, client } = scripted(ofOne(there), all);
  const messages = ["e0", "e1"].map((event_id) => ({ event_type: "x.y", payload: "p".repeat(1_500_000), event_id }));
  const [refused, sent] = await client.message.createMany("a", messages);
  assert.ok(refused.error instanceof errors.EventAlreadyIngested);
  assert.deepEqual([sent.message, bodies.length], [{ event_id: "e1" }, 2]);
});

test("what was there before a try that cannot have arrived is an error", async () => {
  const later = () => Response.json(limited, { status: 429 });
  for (const [first, brought] of [[later, false], [ofOne(limited), false], [ofOne(broken), true], [lost, true]]) {
    const [result] = await scripted(first, ofOne(there)).client.message.createMany("a", [{ event_type: "x.y", payload: 1, event_id: "e" }]);
    assert.equal(result.message !== undefined, brought, String(result.error));
  }
  const { results } = await scripted(later, ofOne(there)).client.events.ingestBatch({ body: { events: [{ event_id: "e" }] } });
  assert.deepEqual(results, [{ problem: there }]);
});

test("the answer of another event is none", async () => {
  const another = { application_id: "a", event_id: "another", received_at: "now" };
  const message = { event_type: "x.y", payload: 1, event_id: "e" };
  await assert.rejects(scripted(Response.json(another)).client.message.create("a", message), /another event/);
  const [{ error }] = await scripted(Response.json({ results: [another] })).client.message.createMany("a", [message]);
  assert.ok(error instanceof errors.BadAnswer);
});

test("a try without an end has time", async () => {
  const fetch = (_url, { signal }) => new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
    setTimeout(() => resolve(Response.json({})), 30);
  });
  assert.deepEqual(await Hookbus("t", { baseUrl: "http://h", fetch, retry: { totalMs: Infinity, perTryMs: Infinity } }).instance.get(), {});
});

test("what a lost try has deleted is deleted", async () => {
  const { client } = scripted(lost, Response.json(gone, { status: 404 }));
  assert.equal(await client.applications.delete({ application_id: "a" }), undefined);
});

test("what was never there is an error", async () => {
  const { client } = scripted(Response.json(gone, { status: 404 }));
  await assert.rejects(client.applications.delete({ application_id: "a" }), errors.NotFound);
});

test("the text of an error is bounded", async () => {
  const { client } = scripted(Response.json({ ...gone, detail: "x".repeat(100_000) }, { status: 404 }));
  await assert.rejects(client.applications.get({ application_id: "a" }), (error) => error.message.length < 1_200 && error.detail.length === 100_000);
});

test("an answer of somebody else says so", async () => {
  for (const [answer, told] of [[new Response(null, { status: 302, headers: { location: "http://x" } }), /^302: a redirect/], [new Response("<html>", { status: 404 }), /^404: .*no problem/]]) {
    const { client } = scripted(answer);
    await assert.rejects(client.applications.get({ application_id: "a" }), (error) => told.test(error.message) && error.message.includes("baseUrl"));
  }
});

test("an id that is missing is told before anything is sent", async () => {
  const { bodies, client } = scripted();
  for (const args of ["nobody", {}, { id: "a" }]) await assert.rejects(client.applications.delete(args), /applications.delete: its arguments/);
  assert.deepEqual(bodies, []);
});

test("what cannot stand in a header is told before it is sent", async () => {
  const { bodies, client } = scripted();
  for (const if_none_match of ["a\r\nx-b: c", "é"]) {
    await assert.rejects(client.applications.get({ application_id: "a", if_none_match }), /applications.get: If-None-Match has characters/);
  }
  assert.deepEqual(bodies, []);
});

test("addresses that are none are refused with words", () => {
  const wrong = ["127.0.0.1:8080", "h", "ftp://h", "http://", "http://h:port", "http://me:the-very@h", "http://h?the-very", "http://h/#the-very"];
  for (const baseUrl of wrong) {
    assert.throws(() => Hookbus("t", { baseUrl }), (error) => /^the address of Hookbus/.test(error.message) && !error.message.includes("the-very"), baseUrl);
  }
  assert.throws(() => Hookbus("Bearer t", { baseUrl: "http://h" }), /without `Bearer`/);
});
