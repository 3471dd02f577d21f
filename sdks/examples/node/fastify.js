// Fastify: a parser for every content type that hands over the bytes as they arrived.
import Fastify from "fastify";
import { Receiver, StillProcessing, Webhook, WebhookError } from "hookbus/webhooks";

const receiver = new Receiver(new Webhook(process.env.WEBHOOK_SECRET));
export const app = Fastify({ bodyLimit: 2 * 1024 * 1024 });

app.removeAllContentTypeParsers();
app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));

app.post("/webhooks", async (request, reply) => {
  try {
    const event = await receiver.accept(request.body ?? Buffer.alloc(0), request.headers);
    if (event) await receiver.processing(event, () => console.log(event.eventType, event.data));
    return reply.code(204).send();
  } catch (error) {
    if (error instanceof StillProcessing) return reply.code(503).send(); // it comes again
    if (!(error instanceof WebhookError)) throw error;
    return reply.code(401).send(error.message);
  }
});
