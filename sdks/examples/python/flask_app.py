# Flask: `request.get_data()` before anything asks for `request.json` or `request.form`.
import os

from flask import Flask, request

from hookbus import Receiver, StillProcessing, Webhook, WebhookError, WebhookEvent

receiver = Receiver(Webhook(os.environ["WEBHOOK_SECRET"]))
app = Flask(__name__)


def handle(event: WebhookEvent) -> None:
    print(event.event_type, event.data)


@app.post("/webhooks")
def webhooks() -> tuple[str, int]:
    try:
        event = receiver.accept(request.get_data(cache=False), request.headers)
    except WebhookError as error:
        return str(error), 401
    except StillProcessing:  # it comes again
        return "", 503
    if event:  # else it was taken before
        with receiver.processing(event):
            handle(event)
    return "", 204
