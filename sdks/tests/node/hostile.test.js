// Servers that mean no good, on real sockets: every answer has an end, in bytes and in time.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { BadAnswer, ConnectionFailed, Hookbus, TimedOut } from "hookbus";

const HEAD = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
const HOSTILE = {
  silence: ["", "", TimedOut],
  "a body that drips": [`${HEAD}transfer-encoding: chunked\r\n\r\n`, "1\r\n \r\n", TimedOut],
  "a body that floods": [`${HEAD}content-length: 999999999\r\n\r\n`, "x".repeat(65536), BadAnswer],
  "headers that flood": [HEAD, `x-a: ${"a".repeat(65536)}\r\n`, ConnectionFailed],
  "headers that drip": [HEAD, "x-a: b\r\n", TimedOut],
  "no HTTP": ["220 smtp ready\r\n\r\n", "", ConnectionFailed],
  "an answer cut short": [`${HEAD}content-length: 9\r\n\r\n{}`, "", TimedOut],
};

for (const [name, [first, again, wanted]] of Object.entries(HOSTILE)) {
  test(name, async () => {
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => {
        socket.write(first);
        const writing = setInterval(() => socket.write(again), 20);
        socket.on("close", () => clearInterval(writing));
      });
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    try {
      const baseUrl = `http://127.0.0.1:${server.address().port}`;
      // What is to end for another reason has time enough on a busy machine.
      const perTryMs = wanted === TimedOut ? 500 : 60_000;
      const client = Hookbus("t", { baseUrl, retry: { totalMs: 0, perTryMs }, maxAnswerBytes: 100_000 });
      await assert.rejects(client.instance.get(), wanted);
    } finally {
      server.close();
    }
  });
}

test("nobody listens", async () => {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  const call = Hookbus("t", { baseUrl: `http://127.0.0.1:${port}`, retry: { totalMs: 0 } }).instance.get();
  await assert.rejects(call, (error) => error instanceof ConnectionFailed && error.message.includes(`http://127.0.0.1:${port}: ECONNREFUSED`));
});
