"""The published Python client of Hook0, unmodified, against Hookbus.

Speaks JSON lines with the test that runs it (see ../README.md): reads the set-up, says `done` for every operation and every
check that held, and ends with an error at the first that did not.
"""

import asyncio
import base64
import datetime
import json
import sys
import uuid

from hook0 import (
    AsyncHttpTransport,
    Event,
    Hook0AsyncClient,
    Hook0Client,
    Hook0ClientError,
    Hook0ClientOptions,
    HttpTransport,
    RetryPolicy,
    verify_webhook_signature,
)
from hook0.generated import aio, api, errors, models

JSON = "application/json"
TOLERANCE = 300


def main() -> None:
    setup = json.loads(sys.stdin.readline())
    check_instance(setup)
    check_applications(setup)
    check_service_tokens(setup)
    application = make_application(setup)
    check_secrets(setup, application)
    check_event_types(setup, application)
    check_subscriptions(setup, application)
    check_events(setup, application)
    check_awaiting(setup, application)
    check_problems(setup, application)
    check_limits(setup)
    check_mixed(setup)
    api.ApplicationsApi(transport(setup, setup["editor"])).delete(str(application.application_id))


# === What every check uses ===


def done(name: str) -> None:
    print(json.dumps({"done": name}), flush=True)


def transport(setup: dict, token: str) -> HttpTransport:
    return HttpTransport(setup["base"], token)


def delivery(path: str, event_id: str) -> dict:
    """What the endpoint of the test was sent for an event: headers and body."""
    print(json.dumps({"ask": {"path": path, "event_id": event_id}}), flush=True)
    return json.loads(sys.stdin.readline())


def refused(kind: type[errors.ProblemError], status: int, call) -> models.Problem:
    """The typed problem of a call that has to fail with it."""
    try:
        answer = call()
    except kind as problem:
        assert problem.status == status == problem.problem.status, problem
        return problem.problem
    raise AssertionError(f"expected {kind.__name__}, got {answer}")


def make_application(setup: dict) -> models.Application:
    applications = api.ApplicationsApi(transport(setup, setup["editor"]))
    return applications.create(models.ApplicationPost("python client", uuid.UUID(setup["organization_id"])))


def subscription(application_id: uuid.UUID, url: str, event_types: list[str], **fields) -> models.SubscriptionPost:
    target = models.SubscriptionPostTarget(headers={"X-Tenant": "acme"}, method="POST", type_="http", url=url)
    return models.SubscriptionPost(application_id, event_types, True, target, **fields)


# === The 28 operations ===


def check_instance(setup: dict) -> None:
    reached = transport(setup, setup["editor"])
    assert api.InstanceApi(reached).get().quota_enforcement in (True, False)
    done("instance.get")
    assert api.QuotasApi(reached).get().limits.global_events_per_day_limit > 0
    done("quotas.get")
    assert {problem.id_ for problem in api.ErrorsApi(reached).list()} == set(models.ProblemId)
    done("errors.list")
    assert JSON in api.PayloadContentTypesApi(reached).list()
    done("payload_content_types.list")


def check_applications(setup: dict) -> None:
    applications = api.ApplicationsApi(transport(setup, setup["editor"]))
    organization = uuid.UUID(setup["organization_id"])
    made = applications.create(models.ApplicationPost("short-lived", organization))
    key = str(made.application_id)
    done("applications.create")
    info = applications.get(key)
    assert (info.name, info.onboarding_steps.event_type) == ("short-lived", "ToDo")
    assert info.quotas.events_per_day_limit > 0
    done("applications.get")
    assert applications.update(key, models.ApplicationPost("renamed", organization)).name == "renamed"
    done("applications.update")
    listed = {application.application_id: application.name for application in applications.list(str(organization))}
    assert listed[made.application_id] == "renamed"
    assert uuid.UUID(setup["application_id"]) in listed
    done("applications.list")
    applications.delete(key)
    applications.delete(key)
    refused(errors.NotFoundError, 404, lambda: applications.get(key))
    done("applications.delete")


def check_service_tokens(setup: dict) -> None:
    tokens = api.ServiceTokenApi(transport(setup, setup["editor"]))
    organization = uuid.UUID(setup["organization_id"])
    made = tokens.create(models.ServiceTokenPost("python client", organization))
    done("service_token.create")
    opened = api.ApplicationsApi(transport(setup, made.biscuit))
    assert uuid.UUID(setup["application_id"]) in {one.application_id for one in opened.list(str(organization))}
    key = str(made.token_id)
    renamed = tokens.edit(key, models.ServiceTokenPost("renamed", organization))
    assert (renamed.name, renamed.token_id) == ("renamed", made.token_id)
    done("service_token.edit")
    assert tokens.get(key, str(organization)).name == "renamed"
    done("service_token.get")
    assert made.token_id in {token.token_id for token in tokens.list(str(organization))}
    done("service_token.list")
    tokens.delete(key, str(organization))
    tokens.delete(key, str(organization))
    refused(errors.AuthInvalidBiscuitError, 403, lambda: opened.list(str(organization)))
    done("service_token.delete")


def check_secrets(setup: dict, application: models.Application) -> None:
    secrets = api.ApplicationSecretsApi(transport(setup, setup["editor"]))
    key = str(application.application_id)
    made = secrets.create(models.ApplicationSecretPost(application.application_id, "python client"))
    done("application_secrets.create")
    assert {secret.name for secret in secrets.read(key)} == {"Default", "python client"}
    done("application_secrets.read")
    token = str(made.token)
    renamed = secrets.update(token, models.ApplicationSecretPost(application.application_id, "renamed"))
    assert (renamed.name, renamed.token) == ("renamed", made.token)
    done("application_secrets.update")
    opened = api.EventTypesApi(transport(setup, token))
    assert opened.list(key) == []
    secrets.delete(token, key)
    refused(errors.AuthInvalidApplicationSecretError, 403, lambda: opened.list(key))
    done("application_secrets.delete")


def application_secret(setup: dict, application: models.Application) -> str:
    secrets = api.ApplicationSecretsApi(transport(setup, setup["editor"]))
    return str(secrets.read(str(application.application_id))[0].token)


def check_event_types(setup: dict, application: models.Application) -> None:
    secret = application_secret(setup, application)
    types = api.EventTypesApi(transport(setup, secret))
    key = str(application.application_id)
    post = models.EventTypePost(application.application_id, "invoice", "billing", "paid")
    made = types.create(post)
    assert made == types.create(post) == models.EventType("billing.invoice.paid", "invoice", "billing", "paid")
    done("event_types.create")
    assert types.get("billing.invoice.paid", key) == made
    done("event_types.get")
    client = Hook0Client(setup["base"], key, secret)
    assert client.upsert_event_types(["billing.invoice.paid", "user.account.created"]) == ["user.account.created"]
    done("upsert_event_types")
    assert {one.event_type_name for one in types.list(key)} == {"billing.invoice.paid", "user.account.created"}
    done("event_types.list")
    types.create(models.EventTypePost(application.application_id, "account", "user", "gone"))
    types.delete("user.account.gone", key)
    types.delete("user.account.gone", key)
    refused(errors.NotFoundError, 404, lambda: types.get("user.account.gone", key))
    done("event_types.delete")


def check_subscriptions(setup: dict, application: models.Application) -> None:
    subscriptions = api.SubscriptionsApi(transport(setup, application_secret(setup, application)))
    key = str(application.application_id)
    post = subscription(
        application.application_id,
        f"{setup['endpoint']}/short-lived",
        ["user.account.created"],
        description="short-lived",
        label_key="environment",
        label_value="test",
        metadata={"team": "billing"},
    )
    made = subscriptions.create(post)
    assert (made.labels, made.label_key, made.label_value) == ({"environment": "test"}, "environment", "test")
    assert (made.description, made.metadata, made.is_enabled) == ("short-lived", {"team": "billing"}, True)
    assert made.target.headers == {"x-tenant": "acme"} or made.target.headers == {"X-Tenant": "acme"}, made.target
    done("subscriptions.create")
    assert subscriptions.get(str(made.subscription_id)) == made
    done("subscriptions.get")
    post = subscription(
        application.application_id, f"{setup['endpoint']}/renamed", ["user.account.created"], labels={"a": "b", "c": "d"}
    )
    changed = subscriptions.update(str(made.subscription_id), post)
    assert changed.labels == {"a": "b", "c": "d"} and changed.target.url.endswith("/renamed")
    assert changed.secret == made.secret, "an edit leaves the secret alone"
    done("subscriptions.update")
    assert [one.subscription_id for one in subscriptions.list(key)] == [made.subscription_id]
    done("subscriptions.list")
    subscriptions.delete(str(made.subscription_id), key)
    subscriptions.delete(str(made.subscription_id), key)
    assert subscriptions.list(key) == []
    done("subscriptions.delete")


# === Events and their deliveries ===


def check_events(setup: dict, application: models.Application) -> None:
    secret = application_secret(setup, application)
    key = str(application.application_id)
    path = f"{setup['path']}/events"
    wanted = subscription(
        application.application_id, f"{setup['endpoint']}/events", ["billing.invoice.paid"], labels={"tenant": "acme"}
    )
    made = api.SubscriptionsApi(transport(setup, secret)).create(wanted)
    client = Hook0Client(setup["base"], key, secret)

    generated = client.send_event(event("without"))
    check_delivery(path, generated, str(made.secret), '{"made": "without"}')
    done("send_event without id")
    given = str(uuid.uuid4())
    assert client.send_event(event("with", given)) == given
    check_delivery(path, given, str(made.secret), '{"made": "with"}')
    done("send_event with id")
    done("verify_webhook_signature")
    try:
        client.send_event(event("with", given))
        raise AssertionError("a repeat has to be refused")
    except Hook0ClientError as conflict:
        assert "EventAlreadyIngested" in str(conflict), conflict
    done("send_event repeated")

    events = api.EventsApi(transport(setup, secret))
    post = event_post(application.application_id, uuid.uuid4())
    ingested = events.ingest(post)
    assert (ingested.event_id, ingested.application_id) == (post.event_id, post.application_id)
    assert events.ingest(event_post(application.application_id, None)).event_id.version == 7
    done("events.ingest")
    refused(errors.EventAlreadyIngestedError, 409, lambda: events.ingest(post))
    done("409 EventAlreadyIngested")


def event(made: str, event_id: str | None = None) -> Event:
    payload = json.dumps({"made": made})
    return Event("billing.invoice.paid", payload, JSON, labels={"tenant": "acme"}, event_id=event_id)


def event_post(application_id: uuid.UUID, event_id: uuid.UUID | None) -> models.EventPost:
    return models.EventPost(
        application_id=application_id,
        event_type="billing.invoice.paid",
        labels={"tenant": "acme"},
        occurred_at=datetime.datetime.now(datetime.UTC),
        payload="plain text",
        payload_content_type="text/plain",
        event_id=event_id,
        metadata={"sent_by": "check.py"},
    )


def check_delivery(path: str, event_id: str, secret: str, payload: str) -> None:
    """A receiver that verifies with the client takes what came, and nothing else."""
    seen = delivery(path, event_id)
    body = base64.b64decode(seen["body"])
    headers = [(name, value) for name, value in seen["headers"]]
    signature = dict(headers)["x-hook0-signature"]
    assert body == payload.encode(), body
    assert verify_webhook_signature(signature, body, headers, secret, TOLERANCE)
    for wrong_body, wrong_secret in ((body + b" ", secret), (body, str(uuid.uuid4()))):
        try:
            verify_webhook_signature(signature, wrong_body, headers, wrong_secret, TOLERANCE)
        except Hook0ClientError:
            continue
        raise AssertionError("what was changed on the way must not verify")


def check_awaiting(setup: dict, application: models.Application) -> None:
    """The awaiting half reads HTTP/1.1 by itself: our framing has to suit it too."""
    secret = application_secret(setup, application)
    key = str(application.application_id)

    async def both() -> None:
        given = str(uuid.uuid4())
        client = Hook0AsyncClient(setup["base"], key, secret)
        assert await client.send_event(event("awaited", given)) == given
        reached = AsyncHttpTransport(setup["base"], secret)
        assert len(await aio.SubscriptionsAsyncApi(reached).list(key)) == 1
        await aio.EventTypesAsyncApi(reached).delete("no.such.type", key)

    asyncio.run(both())
    done("awaiting client")


# === Problems ===


def check_problems(setup: dict, application: models.Application) -> None:
    secret = application_secret(setup, application)
    nobody = str(uuid.uuid4())
    subscriptions = api.SubscriptionsApi(transport(setup, setup["editor"]))
    refused(errors.NotFoundError, 404, lambda: subscriptions.get(nobody))
    done("404 NotFound")
    own = api.SubscriptionsApi(transport(setup, secret))
    refused(errors.ForbiddenError, 403, lambda: own.list(setup["application_id"]))
    done("403 Forbidden")
    stranger = api.SubscriptionsApi(transport(setup, nobody))
    refused(errors.AuthInvalidApplicationSecretError, 403, lambda: stranger.list(str(application.application_id)))
    refused(
        errors.AuthInvalidApplicationSecretError,
        403,
        lambda: api.EventsApi(transport(setup, nobody)).ingest(event_post(application.application_id, None)),
    )
    done("403 AuthInvalidApplicationSecret")
    silent = HttpTransport(setup["base"], "")
    refused(
        errors.AuthInvalidAuthorizationHeaderError,
        400,
        lambda: api.SubscriptionsApi(silent).list(str(application.application_id)),
    )
    done("400 AuthInvalidAuthorizationHeader")
    wrong = subscription(application.application_id, "ftp://example.org/", ["billing.invoice.paid"])
    problem = refused(errors.ValidationError, 422, lambda: own.create(wrong))
    assert "url" in json.dumps(problem.validation), problem
    done("422 Validation")
    unknown = subscription(application.application_id, setup["endpoint"], ["no.such.type"])
    refused(errors.EventTypeDoesNotExistError, 400, lambda: own.create(unknown))
    done("400 EventTypeDoesNotExist")


def check_limits(setup: dict) -> None:
    """An application with one subscription and one event per second at most."""
    limited, secret = uuid.UUID(setup["limited"]["application_id"]), setup["limited"]["secret"]
    own = api.SubscriptionsApi(transport(setup, secret))
    second = subscription(limited, f"{setup['endpoint']}/limited", ["billing.invoice.paid"])
    refused(errors.TooManySubscriptionsPerApplicationError, 429, lambda: own.create(second))
    done("429 TooManySubscriptionsPerApplication")
    events = api.EventsApi(transport(setup, secret))

    def burst() -> None:
        for _ in range(100):
            events.ingest(event_post(limited, None))

    refused(errors.RateLimitedError, 429, burst)
    done("429 RateLimited")
    patient = Hook0ClientOptions(retry_policy=RetryPolicy(max_attempts=8, max_total_delay=20.0))
    Hook0Client(setup["base"], str(limited), secret, patient).send_event(event("patient"))
    done("send_event waits when RateLimited")


# === An application that holds what Hook0 does not know ===


def check_mixed(setup: dict) -> None:
    """Two-part event types, `evt_` ids, a filtered, a label-less and a paused subscription: every list decodes."""
    key, secret = setup["application_id"], setup["secret"]
    types = {one.event_type_name: one for one in api.EventTypesApi(transport(setup, secret)).list(key)}
    two = types["invoice.paid"]
    assert (two.service_name, two.resource_type_name, two.verb_name) == ("invoice", "", "paid")
    four = types["billing.invoice.paid.v2"]
    assert (four.service_name, four.resource_type_name, four.verb_name) == ("billing", "invoice.paid", "v2")
    assert api.EventTypesApi(transport(setup, secret)).get("invoice.paid", key) == two
    subscriptions = api.SubscriptionsApi(transport(setup, secret))
    listed = {one.description: one for one in subscriptions.list(key)}
    assert set(listed) >= {"filtered", "label-less", "paused", "imported"}, listed
    assert (listed["label-less"].label_key, listed["label-less"].labels) == ("", {})
    for one in listed.values():
        assert subscriptions.get(str(one.subscription_id)) == one
        post = models.SubscriptionPost(
            one.application_id,
            one.event_types,
            one.is_enabled,
            models.SubscriptionPostTarget(one.target.headers, one.target.method, one.target.type_, one.target.url),
            one.dedicated_workers,
            one.description,
            labels=one.labels,
            metadata=one.metadata,
        )
        kept = subscriptions.update(str(one.subscription_id), post)
        assert (kept.secret, kept.target, kept.labels) == (one.secret, one.target, one.labels)
    done("mixed: lists decode and edits keep what the client does not know")
    client = Hook0Client(setup["base"], key, secret)
    shown = client.send_event(Event("invoice.paid", "{}", JSON, event_id=f"evt_python{uuid.uuid4().hex[:8]}"))
    assert uuid.UUID(shown).version == 5, "an id that is no UUID is shown as one to Hook0's clients"
    done("mixed: evt_ ids")


if __name__ == "__main__":
    main()
