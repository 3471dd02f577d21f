// The JavaScript of the pages runs as it stands, against a server that answers everything.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { createHmac } from "node:crypto";

const sdks = join(process.env.CONFORMANCE, "..");
const blocks = (page) => [...readFileSync(page, "utf8").matchAll(/```js\n(.*?)```/gs)].map((found) => found[1]).join("\n");

function answering(request, response) {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = JSON.parse(Buffer.concat(parts).toString() || "{}");
    const event = { application_id: "app_id", event_id: body.event_id, received_at: "2026-11-22T10:30:00Z" };
    const known = {
      "/api/v1/event": [201, event],
      "/api/v1/events:batch": [200, { results: (body.events ?? []).map(({ event_id }) => ({ ...event, event_id })) }],
      "/api/v1/applications/nobody": [404, { id: "NotFound", status: 404, detail: "there is none" }],
      "/api/v1/replays": [202, { job_id: "j" }],
      "/api/v1/jobs/j": [200, { job_id: "j", state: "done", counts: { written: 7 } }],
    };
    const subscription = { subscription_id: "s", signing_secret: "whsec_" };
    const [status, told] = known[request.url] ?? (request.method === "GET" ? [200, [subscription]] : [201, subscription]);
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(told));
  });
}

test("the readme runs", async () => {
  const server = createServer(answering);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const text = blocks(join(sdks, "node/README.md")).replaceAll("127.0.0.1:8080", `127.0.0.1:${server.address().port}`);
    writeFileSync(new URL("readme.mjs", import.meta.url), text);
    const { stdout } = await promisify(execFile)("node", [new URL("readme.mjs", import.meta.url).pathname]);
    for (const told of ["evt_123 2026", "sent", "404 NotFound", "done 7", "too_old"]) assert.ok(stdout.includes(told), stdout);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test("the page on receiving runs", async () => {
  const secret = "62268c7e-5fae-4c86-8a9f-f4c95da3a93b";
  process.env.WEBHOOK_SECRET = `another-secret,${secret}`;
  const enqueued = [];
  globalThis.enqueue = (...event) => enqueued.push(event);
  writeFileSync(new URL("receiving.mjs", import.meta.url), blocks(join(sdks, "../docs/receiving.md")));
  const { take } = await import("./receiving.mjs");
  const timestamp = String(Math.floor(Date.now() / 1000));
  const body = Buffer.from("{}");
  const signature = `v1,${createHmac("sha256", secret).update(`evt_1.${timestamp}.{}`).digest("base64")}`;
  const headers = { "webhook-id": "evt_1", "webhook-timestamp": timestamp, "webhook-signature": signature };
  assert.deepEqual([await take(body, headers), await take(body, headers), await take(Buffer.from("[]"), headers)], [204, 204, 401]);
  assert.deepEqual(enqueued.map(([id]) => id), ["evt_1"]);
});
