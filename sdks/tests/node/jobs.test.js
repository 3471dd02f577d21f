// Waiting for jobs.
import assert from "node:assert/strict";
import { test } from "node:test";
import { errors, Hookbus } from "hookbus";

const job = (state, written = 0, more = {}) => ({ job_id: "j", kind: "replay", application_id: "a", state, counts: { found: 9, written, skipped: {} }, ...more });

/** Answers each look at a job with the next state; the last one stays. */
function looking(...states) {
  const looks = [];
  const fetch = async (url) => {
    looks.push(new URL(url).pathname);
    return Response.json(states[Math.min(looks.length, states.length) - 1]);
  };
  return { looks, client: Hookbus("t", { baseUrl: "http://h", fetch }) };
}

test("what is no job is a bad answer", async () => {
  for (const answer of [{}, [], null]) await assert.rejects(looking(answer).client.jobs.wait({ job_id: "j" }, { timeoutMs: 0 }), errors.BadAnswer);
});

test("a job is waited for, and its progress told once a change", async () => {
  const { looks, client } = looking(job("queued"), job("running", 3), job("running", 3), job("done", 9));
  const told = [];
  const done = await client.jobs.wait(job("queued"), { progress: ({ state, counts }) => told.push([state, counts.written]) });
  assert.deepEqual(done, job("done", 9));
  assert.deepEqual(told, [["queued", 0], ["running", 3], ["done", 9]]);
  assert.deepEqual(looks, Array(4).fill("/api/v1/jobs/j"));
});

test("a job that was not done throws", async () => {
  for (const [state, detail] of [["failed", "the log is gone"], ["cancelled", undefined]]) {
    const { client } = looking(job(state, 4, { detail }));
    const failed = (error) => error instanceof errors.JobNotDone && error.job.counts.written === 4 && error.message.includes(detail ?? state);
    await assert.rejects(client.jobs.wait({ job_id: "j" }), failed);
  }
});

test("a wait has an end, and the job is told to go on", async () => {
  const { looks, client } = looking(job("paused"));
  await assert.rejects(client.jobs.wait({ job_id: "j" }, { timeoutMs: 0 }), { name: "TimedOut", message: /paused after 0 s; it goes on/ });
  assert.equal(looks.length, 1);
});

test("a signal ends a wait, and its pauses", async () => {
  const ended = new AbortController();
  const { client } = looking(job("running"));
  const waiting = client.jobs.wait({ job_id: "j" }, { signal: ended.signal, progress: () => ended.abort() });
  await assert.rejects(waiting, { name: "AbortError" });
});
