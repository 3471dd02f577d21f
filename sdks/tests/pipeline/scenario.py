"""Every operation of the document once, and the page's lines, from Python. Reads its set-up as one line of JSON, prints what it called."""

import json
import os
import re
import sys
import time

from hookbus import Hook0, Hookbus, MessageIn, errors

setup = json.loads(sys.stdin.readline())
done = set()


def snake(name):
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


admin = Hookbus(setup["admin_key"], setup["base"], on_answer=lambda operation, answer: done.add(operation))
for call in (admin.instance.get, admin.instance.openapi, admin.instance.swagger, admin.errors.list, admin.quotas.get):
    assert call()
assert "application/json" in list(admin.payload_content_types.list())

organization = admin.organizations.create({"name": "SDK for Python"})["organization_id"]
admin.organizations.update(organization, {"name": "SDK in Python"})
admin.organizations.patch(organization, {"name": "SDK of Python"})
assert admin.organizations.get(organization)["name"] == "SDK of Python"
assert organization in [found["organization_id"] for found in admin.organizations.list()]

token = admin.service_token.create({"organization_id": organization, "name": "for a test"})
admin.service_token.edit(token["token_id"], {"organization_id": organization, "name": "edited"})
admin.service_token.patch(token["token_id"], {"organization_id": organization, "name": "patched"})
assert admin.service_token.get(token["token_id"], organization_id=organization)["name"] == "patched"
assert len(list(admin.service_token.list(organization_id=organization))) == 1
token = admin.service_token.rotate(token["token_id"], {"organization_id": organization})
admin.service_token.delete(token["token_id"], organization_id=organization)

application = admin.applications.create({"organization_id": organization, "name": "SDK"})["application_id"]
admin.applications.update(application, {"organization_id": organization, "name": "SDK two"})
admin.applications.patch(application, {"name": "SDK three"})
assert admin.applications.get(application)["name"] == "SDK three"
assert [found["application_id"] for found in admin.applications.list(organization_id=organization)] == [application]

secret = admin.application_secrets.create({"application_id": application, "name": "second"})
admin.application_secrets.update(secret["token"], {"application_id": application, "name": "renamed"})
admin.application_secrets.patch(secret["token"], {"application_id": application, "name": "again"})
secret = admin.application_secrets.rotate(secret["token"], {"application_id": application})
assert len(list(admin.application_secrets.read(application_id=application))) >= 2

admin.event_types.create({"application_id": application, "name": "invoice.paid"})
admin.event_types.create({"application_id": application, "name": "invoice.gone"})
admin.event_types.patch("invoice.paid", {"description": "paid"}, application_id=application)
assert admin.event_types.get("invoice.paid", application_id=application)["event_type_name"] == "invoice.paid"
admin.event_types.delete("invoice.gone", application_id=application)
assert len(list(admin.event_types.list(application_id=application))) == 1

target = {"type": "http", "method": "POST", "url": setup["receiver"], "headers": {}}
subscription = admin.subscriptions.create(
    {"application_id": application, "is_enabled": True, "event_types": ["invoice.paid"], "labels": {}, "target": target}
)
identity = subscription["subscription_id"]
admin.subscriptions.update(identity, {"application_id": application, "description": "one"})
admin.subscriptions.patch(identity, {"description": "two"}, application_id=application)
admin.subscriptions.pause(identity, application_id=application)
admin.subscriptions.resume(identity, application_id=application)
subscription = admin.subscriptions.rotate_secret(identity, {"application_id": application, "overlap_ms": 0})
assert admin.subscriptions.get(identity, application_id=application)["description"] == "two"
assert len(list(admin.subscriptions.list(application_id=application))) == 1
print(json.dumps({"secret": subscription["signing_secret"]}), flush=True)
admin.subscriptions.ping(identity, application_id=application)

# The page's lines as they stand, but for token and application id; the address comes from HOOKBUS_URL.
os.environ["HOOKBUS_URL"] = setup["base"]
page = open(setup["page"]).read().replace("AUTH_TOKEN", secret["token"]).replace("app_id", application)
exec(compile(page, "page", "exec"), {"Hook0": Hook0, "MessageIn": MessageIn})

with Hookbus(secret["token"], setup["base"], on_answer=lambda operation, answer: done.add(operation)) as sender:
    sender.events.ingest({"application_id": application, "event_type": "invoice.paid", "payload": {"by": "operation"}})
    sender.events.ingest_batch({"events": [{"event_type": "invoice.paid", "payload": {"by": "batch"}}]})
    results = sender.message.create_many(
        application, [MessageIn("invoice.paid", {"n": n}) for n in range(3)] + [MessageIn("no.such", {})]
    )
    assert [type(result.error) for result in results] == [type(None)] * 3 + [errors.EventTypeDoesNotExist], results
    try:
        sender.message.create(application, MessageIn("invoice.paid", {}, event_id="evt_123"))
        raise SystemExit("a second evt_123 was taken")
    except errors.EventAlreadyIngested as error:
        assert error.request_id and error.status == 409
print(json.dumps({"sent": 6}), flush=True)
assert sys.stdin.readline().strip() == "arrived"

# The delivery log follows its topic by some moments.
for _ in range(300):
    try:
        admin.events.delete("evt_123", application_id=application)
        break
    except errors.ApiError as error:
        assert error.status == 404, error
        time.sleep(0.1)
else:
    raise SystemExit("evt_123 did not come into the delivery log")
event = admin.events.get("evt_123", application_id=application, payload=False)
assert event["payload_state"] == "erased", event

# Nothing has failed, so this job finds nothing, and sends nothing that the receiver would count.
told = []
job = admin.replays.create({"application_id": application, "filter": {"outcome": ["failed"]}})
assert admin.jobs.wait(job["job_id"], progress=told.append, timeout=60)["counts"]["written"] == 0
assert told[-1]["state"] == "done", told

orders = {"topics": ["sdk-for-python.orders"], "wait_for_topic": True, "format": "json"}
orders |= {"application": "{header:application}", "type": "order.{value:/status}"}
source = admin.sources.create({"organization_id": organization, "name": "orders", **orders})["source_id"]
assert admin.sources.get(source)["topics"] == orders["topics"]
admin.sources.delete(source)
urls = ["http://127.0.0.1:9"]
registry = admin.schema_registries.create({"name": "for python", "urls": urls})["schema_registry_id"]
assert admin.schema_registries.get(registry)["urls"] == urls
admin.schema_registries.delete(registry)
assert admin.rejected.retry({"reason": "unmapped"})["kind"] == "retry_rejected"

# What nothing above has called, such as operations that are newer than this scenario: an answer that is no 5xx is a call that was understood.
for operation in json.load(open(setup["operations"])):
    if operation["id"] in done or operation["id"].endswith(".delete"):
        continue
    resource, verb = (snake(part) for part in operation["id"].split("."))
    arguments = ["00000000-0000-0000-0000-000000000000"] * len(operation["path"])
    arguments += [operation["body"]] if operation["body"] is not None else []
    query = {name: application for name in operation["query"]}
    try:
        called = getattr(getattr(admin, resource), verb)(*arguments, **query)
        list(called) if operation["many"] else None
    except errors.ApiError as error:
        assert error.status < 500, f"{operation['id']}: {error}"
admin.subscriptions.delete(identity, application_id=application)
admin.application_secrets.delete(secret["token"], application_id=application)
admin.applications.delete(application)
admin.organizations.delete(organization)
admin.log.delete()
print(json.dumps({"done": sorted(done)}), flush=True)
