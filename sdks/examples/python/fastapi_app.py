# FastAPI: `await request.body()` are the bytes as they arrived.
import os

from fastapi import FastAPI, Request, Response

from hookbus import Receiver, StillProcessing, Webhook, WebhookError, WebhookEvent

receiver = Receiver(Webhook(os.environ["WEBHOOK_SECRET"]))
app = FastAPI()


async def handle(event: WebhookEvent) -> None:
    print(event.event_type, event.data)


@app.post("/webhooks")
async def webhooks(request: Request) -> Response:
    try:
        event = receiver.accept(await request.body(), request.headers)
    except WebhookError as error:
        return Response(str(error), status_code=401)
    except StillProcessing:  # it comes again
        return Response(status_code=503)
    if event:  # else it was taken before
        with receiver.processing(event):
            await handle(event)
    return Response(status_code=204)


@app.get("/metrics")
def metrics() -> Response:
    return Response(receiver.counters.text(), media_type="text/plain; version=0.0.4")
