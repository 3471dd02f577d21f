"""The vectors of sdks/conformance, with the package that was installed."""

import base64
import contextlib
import copy
import json
import os
import typing
import unittest
from pathlib import Path

import httpx

from hookbus import AsyncHookbus, Hookbus, MessageIn, RawJson, RetryPolicy, Webhook, WebhookError, errors
from hookbus._retry import pause, retry_after
from hookbus.pages import next_page

FOLDER = Path(os.environ["CONFORMANCE"])
POLICY = RetryPolicy(total=5.0, per_try=5.0, first=0.001, longest=0.002)


def vectors(name, of="vectors"):
    return json.loads((FOLDER / f"{name}.json").read_text())[of]


class Chain(httpx.MockTransport):
    """Pages whose one item is their cursor. One that is asked for far too often ends the test."""

    def __init__(self, chain):
        super().__init__(self.answer)
        self.next, self.left = chain["next"], 50

    def answer(self, request):
        self.left -= 1
        assert self.left, "there is no end"
        cursor = request.url.params.get("cursor", "")
        following = self.next.get(cursor)
        link = {"link": f'</api/v1/subscriptions?cursor={following}>; rel="next"'} if following else {}
        return httpx.Response(200, json=[cursor], headers=link)


def signature(vector):
    """Fails unless the verifier says what the vector says."""
    body = base64.b64decode(vector["body_base64"]) if "body_base64" in vector else vector["body"].encode()
    webhook = Webhook(vector["secrets"], tolerance=vector.get("tolerance", 300), require_timestamp=vector.get("require_timestamp", False))
    for headers in (vector["headers"], [(name.encode(), value.encode("latin-1")) for name, value in vector["headers"]]):
        try:
            event = webhook.verify(body, headers, now=vector["now"])
        except WebhookError as error:
            assert error.reason == vector.get("refused"), f"{vector['name']}: {error.reason}: {error}"
            continue
        told = {"signed_by": event.signed_by, "id": event.id, "timestamp": event.timestamp}
        assert told == vector.get("accepted"), f"{vector['name']}: {told}"
        assert event.body == body


class Script:
    """Answers by the number of the call, and remembers what was asked."""

    def __init__(self, answers):
        self.answers, self.requests = list(answers), []

    def __call__(self, request):
        self.requests.append(request)
        answer = self.answers[len(self.requests) - 1]
        if answer.get("fail") == "timeout":
            raise httpx.ReadTimeout("planted", request=request)
        if answer.get("fail") == "connection":
            raise httpx.ReadError("planted", request=request)
        body = answer["body"]
        if "${id}" in body:
            body = body.replace("${id}", json.loads(request.content)["event_id"])
        return httpx.Response(answer["status"], headers=answer["headers"], content=body * answer.get("repeat", 1))


def message(given):
    fields = {name: value for name, value in given.items() if name not in ("payload", "payload_raw")}
    return MessageIn(payload=RawJson(given["payload_raw"]) if "payload_raw" in given else json.loads(given["payload"]), **fields)


def sent(vector, script):
    requests = script.requests
    assert len(requests) == len(vector["requests"]), f"{vector['name']}: {len(requests)} requests"
    made = None
    for request, wanted in zip(requests, vector["requests"]):
        body = request.content.decode()
        assert request.headers["authorization"] == "Bearer the-token" and "idempotency-key" not in request.headers
        assert (request.method, request.url.path) == (wanted["method"], wanted["path"])
        if "${id}" in wanted["body"]:
            made = made or json.loads(body)["event_id"]
            wanted = {**wanted, "body": wanted["body"].replace("${id}", made)}
        if vector.get("order_matters", True):
            assert body == wanted["body"], f"{vector['name']}: {body}"
        else:
            assert json.loads(body) == {**json.loads(wanted["body"]), **vector.get("fields", {})}, f"{vector['name']}: {body}"


def judged(vector, outcome, script):
    if isinstance(outcome, errors.HookbusError):
        wanted = vector.get("error")
        assert wanted, f"{vector['name']}: {outcome!r}"
        assert type(outcome) is getattr(errors, wanted["kind"]), f"{vector['name']}: {outcome!r}"
        for name, value in wanted.items():
            assert name == "kind" or getattr(outcome, name) == value, f"{vector['name']}: {name} is {getattr(outcome, name)!r}"
        assert "the-token" not in repr(outcome) + str(outcome)
    elif isinstance(outcome, list):
        told = ["ok" if result.message else getattr(result.error, "id", type(result.error).__name__) for result in outcome]
        assert told == vector["results"], f"{vector['name']}: {told}"
        assert [result.event_id for result in outcome] == [given["event_id"] for given in vector["messages"]]
    else:
        told = {name: value for name, value in vars(outcome).items() if value is not None}
        wanted = vector.get("message_out")
        if wanted and wanted["event_id"] == "${id}":
            wanted = {**wanted, "event_id": json.loads(script.requests[0].content)["event_id"]}
        assert told == wanted, f"{vector['name']}: {told}"


def sending(vector):
    script = Script(vector["answers"])
    application = json.loads((FOLDER / "sending.json").read_text())["application_id"]
    with Hookbus("the-token", "http://h.example", retry=POLICY, transport=httpx.MockTransport(script), max_answer_bytes=65536) as client:
        try:
            if "messages" in vector:
                outcome = client.message.create_many(application, map(message, vector["messages"]))
            else:
                outcome = client.message.create(application, message(vector["message"]))
        except errors.HookbusError as error:
            outcome = error
    judged(vector, outcome, script)
    sent(vector, script)


async def awaiting(vector):
    script = Script(vector["answers"])
    application = json.loads((FOLDER / "sending.json").read_text())["application_id"]
    transport = httpx.MockTransport(script)
    async with AsyncHookbus("the-token", "http://h.example/api/v1/", retry=POLICY, transport=transport, max_answer_bytes=65536) as client:
        try:
            if "messages" in vector:
                outcome = await client.message.create_many(application, map(message, vector["messages"]))
            else:
                outcome = await client.message.create(application, message(vector["message"]))
        except errors.HookbusError as error:
            outcome = error
    judged(vector, outcome, script)
    sent(vector, script)


class Conformance(unittest.TestCase):
    def test_signatures(self):
        for vector in vectors("signatures"):
            with self.subTest(vector["name"]):
                signature(vector)

    def test_standard_webhooks(self):
        """What the reference libraries publish has the same verdicts here."""
        for vector in vectors("standard-webhooks"):
            with self.subTest(vector["name"], of=vector["from"]):
                signature(vector)

    def test_sending(self):
        for vector in vectors("sending"):
            with self.subTest(vector["name"]):
                sending(vector)

    def test_pages(self):
        for vector in vectors("pages"):
            with self.subTest(vector["name"]):
                try:
                    told = {"next": next_page(vector["url"], vector["link"])}
                except errors.BadAnswer:
                    told = {"error": "BadAnswer"}
                self.assertEqual(told, {name: vector[name] for name in ("next", "error") if name in vector})

    def test_chains(self):
        for chain in vectors("pages", "chains"):
            with self.subTest(chain["name"]), Hookbus("t", "http://h", transport=Chain(chain)) as client:
                pages = client.subscriptions.list(application_id="a")
                for _ in range(2):  # each iteration has a way of its own
                    told = []
                    with self.assertRaises(errors.BadAnswer) if "error" in chain else contextlib.nullcontext():
                        for item in pages:
                            told.append(item)
                    self.assertEqual(told, chain["asked"])

    def test_every_code_of_the_document_is_known_and_stands_in_every_error(self):
        document = json.loads((FOLDER.parent.parent / "schemas/openapi/openapi.json").read_text())
        codes = document["components"]["schemas"]["Problem"]["properties"]["code"]["x-extensible-enum"]
        self.assertIn("idempotency_key_reused", codes)
        self.assertCountEqual(typing.get_args(errors.Code), codes)
        for name, kind in errors.BY_ID.items():
            for code in (*codes, "newer"):
                error = kind(409, {"id": name, "code": code})
                self.assertEqual((error.code, error.has_code(code)), (code, True))
            self.assertFalse(kind(409, {"id": name}).has_code("taken"))

    def test_retry_after(self):
        for vector in vectors("retry-after"):
            with self.subTest(vector["name"]):
                self.assertEqual(retry_after(vector["value"], vector["now"]), vector["seconds"])

    def test_a_planted_error_is_found(self):
        """In ten vectors a bit is turned: a suite that says nothing about it says nothing at all."""
        accepted = [vector for vector in vectors("signatures") if "accepted" in vector and len(vector.get("body", "")) > 5][:5]
        for vector in copy.deepcopy(accepted):
            vector["body"] = vector["body"][:-1] + chr(ord(vector["body"][-1]) ^ 1)
            self.assertRaises(AssertionError, signature, vector)
        for vector in copy.deepcopy(vectors("sending")[:5]):
            vector["requests"][-1]["body"] += " "
            self.assertRaises((AssertionError, ValueError), sending, {**vector, "order_matters": True})

    def test_pauses_stay_within_the_total_time(self):
        policy = RetryPolicy(total=10, first=1, longest=4)
        self.assertEqual([pause(policy, tries, 0, None, lambda: 0.0) for tries in (1, 2, 3, 4, 900)], [1, 2, 4, 4, 4])
        self.assertEqual(pause(policy, 1, 0, None, lambda: 1.0), 0.5)
        self.assertEqual(pause(policy, 1, 0, 3.0, lambda: 0.0), 3.0)
        self.assertIsNone(pause(policy, 1, 9.5, None, lambda: 0.0))
        self.assertIsNone(pause(RetryPolicy(total=0), 1, 0, None, lambda: 1.0))


class Awaiting(unittest.IsolatedAsyncioTestCase):
    async def test_chains(self):
        for chain in vectors("pages", "chains"):
            told = []
            async with AsyncHookbus("t", "http://h", transport=Chain(chain)) as client:
                with self.subTest(chain["name"]), self.assertRaises(errors.BadAnswer) if "error" in chain else contextlib.nullcontext():
                    async for item in client.subscriptions.list(application_id="a"):
                        told.append(item)
            self.assertEqual(told, chain["asked"], chain["name"])

    async def test_sending(self):
        for vector in vectors("sending"):
            with self.subTest(vector["name"]):
                await awaiting(vector)


if __name__ == "__main__":
    unittest.main()
