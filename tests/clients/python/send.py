# One event, as README.md shows it.
import os

from hook0 import Event, Hook0Client

client = Hook0Client(os.environ["HOOKBUS_URL"], os.environ["APPLICATION_ID"], os.environ["TOKEN"])
event = Event("billing.invoice.paid", '{"invoice": "in_1042"}', "application/json", labels={"tenant": "acme"})
print(client.send_event(event))
