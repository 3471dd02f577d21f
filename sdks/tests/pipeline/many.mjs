// Sends many events from Node, and says how that went.
import { readFileSync } from "node:fs";
import { Hookbus } from "hookbus";

const { base, token, application_id, count, seconds } = JSON.parse(readFileSync(0, "utf8"));
const messages = Array.from({ length: count }, (_, n) => ({ event_type: "invoice.paid", event_id: `evt_${n}`, payload: { n } }));
const client = Hookbus(token, { baseUrl: base, retry: { totalMs: seconds * 1000, perTryMs: 20_000 } });
const results = await client.message.createMany(application_id, messages);
const failed = results.find(({ error }) => error);
process.stdout.write(JSON.stringify({ sent: results.length, failed: failed ? String(failed.error) : null }));
