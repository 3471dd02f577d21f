// What bundlers make of the packages for browsers and edge workers: nothing of Node is in it, and the verifier comes without the client.
import assert from "node:assert/strict";
import { test } from "node:test";
import { build } from "esbuild";
import { delivery, SECRET } from "./delivery.js";

async function bundled(contents) {
  const options = { bundle: true, minify: true, write: false, format: "esm", platform: "browser", logLevel: "silent", metafile: true };
  const { outputFiles, metafile } = await build({ ...options, stdin: { contents, resolveDir: import.meta.dirname ?? process.cwd() } });
  const [output] = Object.values(metafile.outputs);
  const kept = Object.entries(output.inputs).filter(([, { bytesInOutput }]) => bytesInOutput);
  return { text: outputFiles[0].text, files: kept.map(([name]) => name.split("/").at(-1)) };
}

test("the verifier alone, and it verifies", async (context) => {
  const { text, files } = await bundled('export { Webhook } from "hookbus/webhooks";');
  context.diagnostic(`${text.length} bytes`);
  assert.deepEqual(files, ["webhooks.js"]);
  const { Webhook } = await import(`data:text/javascript,${encodeURIComponent(text)}`);
  const event = await new Webhook(SECRET).verify(Buffer.from("{}"), delivery(Buffer.from("{}")));
  assert.equal(event.id, "evt_1");
});

test("the client, with nothing of Node", async (context) => {
  const { text, files } = await bundled('export { Hookbus } from "hookbus";');
  context.diagnostic(`${text.length} bytes`);
  assert.ok(!files.includes("webhooks.js") && !/\bfrom"node:|require\(/.test(text));
});
