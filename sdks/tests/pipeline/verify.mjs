// Verifies what a line of JSON holds, and says its id and data.
import { createInterface } from "node:readline";
import { Webhook } from "hookbus/webhooks";

for await (const line of createInterface({ input: process.stdin })) {
  const { secret, headers, body } = JSON.parse(line);
  const event = await new Webhook(secret).verify(Buffer.from(body, "base64"), headers);
  process.stdout.write(`${JSON.stringify({ id: event.id, data: event.data })}\n`);
}
