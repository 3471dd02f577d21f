// Express: `express.raw` hands over the bytes as they arrived; a JSON parser in front of it would not.
import express from "express";
import { Receiver, StillProcessing, Webhook, WebhookError } from "hookbus/webhooks";

const receiver = new Receiver(new Webhook(process.env.WEBHOOK_SECRET));
export const app = express();

app.post("/webhooks", express.raw({ type: () => true, limit: "2mb" }), async (request, response) => {
  try {
    // A body of length 0 is left out by the parser.
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    const event = await receiver.accept(body, request.headers);
    if (event) await receiver.processing(event, () => console.log(event.eventType, event.data));
    response.status(204).end();
  } catch (error) {
    if (error instanceof StillProcessing) response.status(503).end(); // it comes again
    else if (error instanceof WebhookError) response.status(401).send(error.message);
    else throw error;
  }
});
