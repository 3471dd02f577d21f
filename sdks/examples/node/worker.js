// Edge workers: a module whose `fetch` takes a Request. Memory there is short-lived: give `Receiver` a store of your own.
import { Receiver, StillProcessing, Webhook, WebhookError } from "hookbus/webhooks";

let receiver;

export default {
  async fetch(request, env) {
    receiver ??= new Receiver(new Webhook(env.WEBHOOK_SECRET));
    if (request.method !== "POST") return new Response(null, { status: 405 });
    try {
      const event = await receiver.accept(await request.arrayBuffer(), request.headers);
      if (event) await receiver.processing(event, () => console.log(event.eventType, event.data));
      return new Response(null, { status: 204 });
    } catch (error) {
      if (error instanceof StillProcessing) return new Response(null, { status: 503 }); // it comes again
      if (!(error instanceof WebhookError)) throw error;
      return new Response(error.message, { status: 401 });
    }
  },
};
