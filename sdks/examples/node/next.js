// Next.js: a route handler, `app/webhooks/route.js`.
import { Receiver, StillProcessing, Webhook, WebhookError } from "hookbus/webhooks";

const receiver = new Receiver(new Webhook(process.env.WEBHOOK_SECRET));

export async function POST(request) {
  try {
    const event = await receiver.accept(await request.arrayBuffer(), request.headers);
    if (event) await receiver.processing(event, () => console.log(event.eventType, event.data));
    return new Response(null, { status: 204 });
  } catch (error) {
    if (error instanceof StillProcessing) return new Response(null, { status: 503 }); // it comes again
    if (!(error instanceof WebhookError)) throw error;
    return new Response(error.message, { status: 401 });
  }
}
