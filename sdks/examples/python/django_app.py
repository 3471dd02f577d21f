# Django: a view; `request.body` are the bytes as they arrived, and the sender has no CSRF token.
import os

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from hookbus import Receiver, StillProcessing, Webhook, WebhookError, WebhookEvent

receiver = Receiver(Webhook(os.environ["WEBHOOK_SECRET"]))


def handle(event: WebhookEvent) -> None:
    print(event.event_type, event.data)


@csrf_exempt
@require_POST
def webhooks(request: HttpRequest) -> HttpResponse:
    try:
        event = receiver.accept(request.body, request.headers)
    except WebhookError as error:
        return HttpResponse(str(error), status=401)
    except StillProcessing:  # it comes again
        return HttpResponse(status=503)
    if event:  # else it was taken before
        with receiver.processing(event):
            handle(event)
    return HttpResponse(status=204)


urlpatterns = [path("webhooks", webhooks)]
