// The reference library of Standard Webhooks reads our vectors, and says the same of each that has its form.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const read = (name) => JSON.parse(readFileSync(join(process.env.CONFORMANCE, `${name}.json`), "utf8")).vectors;

/** Where it is laxer: any number of entries is looked at. Where it is stricter: it takes a body for text. */
const OTHERWISE = ["the 33rd entry is not looked at", "a body that is no UTF-8"];

/** Its key: without `whsec_` ours is the text itself. */
const keyOf = (secret) => (secret.startsWith("whsec_") ? new Webhook(secret) : new Webhook(Buffer.from(secret), { format: "raw" }));

function accepts(vector) {
  const headers = Object.fromEntries(vector.headers.map(([name, value]) => [name.toLowerCase(), value]));
  const body = vector.body_base64 ? Buffer.from(vector.body_base64, "base64") : Buffer.from(vector.body);
  return vector.secrets.some((secret) => {
    try {
      keyOf(secret).verify(body, headers);
      return true;
    } catch (error) {
      if (error instanceof WebhookVerificationError) return false;
      if (error instanceof SyntaxError) return true; // It parses what it has verified.
      throw error;
    }
  });
}

/** Whether a vector can be given to it: shared secrets, its own tolerance, each header once, and none of another form. */
function isTheirs({ headers, secrets, tolerance }) {
  const names = headers.map(([name]) => name.toLowerCase());
  const once = new Set(names).size === names.length;
  return once && !names.includes("x-hook0-signature") && !secrets.some((secret) => secret.startsWith("whpk_")) && tolerance === undefined;
}

test("the reference library says the same", (context) => {
  const theirs = [...read("signatures"), ...read("standard-webhooks")].filter(isTheirs);
  const names = theirs.map((vector) => vector.name);
  assert.ok(theirs.length > 45, `only ${theirs.length}`);
  assert.ok(OTHERWISE.every((name) => names.includes(name)));
  context.mock.timers.enable({ apis: ["Date"] });
  const differing = theirs.filter((vector) => {
    context.mock.timers.setTime(vector.now * 1000);
    return accepts(vector) !== Boolean(vector.accepted);
  });
  assert.deepEqual(differing.map((vector) => vector.name).sort(), [...OTHERWISE].sort());
});
