// Servers that mean no good, on real sockets: every answer has an end, in bytes and in time.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createServer as createTlsServer } from "node:tls";
import { BadAnswer, CertificateRefused, ConnectionFailed, Hookbus, TimedOut } from "hookbus";

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

test("a certificate that nobody has signed is told after one try", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hookbus-"));
  const [key, cert] = [join(folder, "key"), join(folder, "cert")];
  const made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost", "-days", "1"];
  execFileSync("openssl", [...made, "-keyout", key, "-out", cert], { stdio: "ignore" });
  const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) });
  server.on("tlsClientError", () => undefined);
  rmSync(folder, { recursive: true });
  await once(server.listen(0, "127.0.0.1"), "listening");
  try {
    const call = Hookbus("t", { baseUrl: `https://127.0.0.1:${server.address().port}`, retry: { totalMs: 60_000, perTryMs: 60_000 } }).instance.get();
    await assert.rejects(call, (error) => error instanceof CertificateRefused && error.tries === 1 && error.message.includes("SELF_SIGNED_CERT"));
  } finally {
    server.close();
  }
});
