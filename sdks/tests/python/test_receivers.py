"""The examples for web frameworks, and what a receiver is helped with."""

import base64
import hashlib
import hmac
import importlib
import json
import os
import pickle
import sqlite3
import sys
import time
import unittest
from datetime import datetime, timezone
from pathlib import Path

import httpx

import hookbus
from hookbus import Hookbus, MemorySeen, MessageIn, RawJson, Receiver, TableSeen, Webhook, WebhookError, errors

sys.path.insert(0, str(Path(os.environ["CONFORMANCE"]).parent / "examples/python"))
SECRET = "62268c7e-5fae-4c86-8a9f-f4c95da3a93b"
os.environ["WEBHOOK_SECRET"] = SECRET
BODY = '{ "b":1, "a":"Zoë" }'.encode()


def delivery(body=BODY, id="evt_1", at=None):
    timestamp = str(int(time.time() if at is None else at))
    digest = hmac.new(SECRET.encode(), f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return {"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature, "content-type": "application/json"}


class Frameworks(unittest.TestCase):
    def judge(self, module, post, awaited=False):
        """A delivery, the same again, and one of another body: handled once, refused once."""
        handled = []

        async def handle(event):
            handled.append(event)

        module.handle = handle if awaited else handled.append
        self.assertEqual([post(BODY, delivery()), post(BODY, delivery()), post(BODY + b" ", delivery())], [204, 204, 401])
        self.assertEqual([(event.id, event.data) for event in handled], [("evt_1", {"b": 1, "a": "Zoë"})])
        counters = module.receiver.counters
        self.assertEqual((counters.verified, counters.duplicates, counters.refused, counters.processed), (2, 1, {"no_match": 1}, 1))

    def test_fastapi(self):
        from fastapi.testclient import TestClient

        module = importlib.import_module("fastapi_app")
        client = TestClient(module.app)

        def post(body, headers):
            return client.post("/webhooks", content=body, headers=headers).status_code

        self.judge(module, post, awaited=True)
        self.assertIn("webhooks_verified_total 2", client.get("/metrics").text)

    def test_flask(self):
        module = importlib.import_module("flask_app")
        client = module.app.test_client()
        self.judge(module, lambda body, headers: client.post("/webhooks", data=body, headers=headers).status_code)

    def test_django(self):
        import django
        from django.conf import settings

        settings.configure(ROOT_URLCONF="django_app", ALLOWED_HOSTS=["*"], SECRET_KEY="of a test")
        django.setup()
        from django.test import Client

        module = importlib.import_module("django_app")
        client = Client(enforce_csrf_checks=True)

        def post(body, headers):
            return client.post("/webhooks", body, content_type="application/json", headers=headers).status_code

        self.judge(module, post)


class Receiving(unittest.TestCase):
    def test_what_could_not_be_handled_is_taken_again(self):
        receiver = Receiver(Webhook(SECRET))
        with self.assertRaises(RuntimeError), receiver.processing(receiver.accept(BODY, delivery())):
            raise RuntimeError("planted")
        self.assertIsNotNone(receiver.accept(BODY, delivery()))
        self.assertIsNone(receiver.accept(BODY, delivery()))
        self.assertEqual((receiver.counters.failed, receiver.counters.duplicates), (1, 1))

    def test_an_attempt_while_the_one_before_it_is_handled_is_not_answered_as_taken(self):
        receiver = Receiver(Webhook(SECRET))
        with self.assertRaises(RuntimeError), receiver.processing(receiver.accept(BODY, delivery())):
            with self.assertRaisesRegex(hookbus.StillProcessing, "evt_1"):
                receiver.accept(BODY, delivery())
            raise RuntimeError("planted")
        with receiver.processing(receiver.accept(BODY, delivery())):
            pass
        self.assertIsNone(receiver.accept(BODY, delivery()))
        self.assertEqual(receiver.counters.duplicates, 2)

    def test_a_store_that_is_empty_is_used(self):
        class Empty(MemorySeen):
            def __len__(self):
                return 0

        seen = Empty()
        self.assertIs(Receiver(Webhook(SECRET), seen).seen, seen)

    def test_a_table_remembers_with_the_transaction(self):
        database = sqlite3.connect(":memory:")
        database.execute("CREATE TABLE webhooks_seen (id TEXT PRIMARY KEY, seen_at TEXT DEFAULT CURRENT_TIMESTAMP)")
        seen = TableSeen(database, "?")
        self.assertTrue(seen.claim("a"))
        database.rollback()
        self.assertTrue(seen.claim("a"))
        database.commit()
        self.assertFalse(seen.claim("a"))
        seen.release("a")
        self.assertTrue(seen.claim("a"))

    def test_memory_has_a_limit(self):
        seen = MemorySeen(most=2)
        self.assertEqual([seen.claim(id) for id in "abca"], [True, True, True, True])
        self.assertFalse(seen.claim("c"))

    def test_a_delivery_whose_id_nobody_signed_is_refused(self):
        signature = "sha256=" + hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
        with self.assertRaisesRegex(WebhookError, "standard"):
            Receiver(Webhook(SECRET)).accept(BODY, {"X-Hook0-Signature": signature})

    def test_a_tolerance_or_time_that_is_no_number_is_refused(self):
        for wrong in (float("nan"), float("inf"), -1, "300", None, True):
            with self.subTest(wrong), self.assertRaisesRegex(ValueError, "tolerance"):
                Webhook(SECRET, tolerance=wrong)
        for wrong in (float("nan"), float("inf")):
            with self.assertRaisesRegex(ValueError, "now"):
                Webhook(SECRET).verify(BODY, delivery(), now=wrong)
        self.assertRaises(WebhookError, Webhook(SECRET, tolerance=0).verify, BODY, delivery(at=1))

    def test_text_is_refused_with_words(self):
        for body in ("{}", {"a": 1}, None):
            with self.assertRaisesRegex(TypeError, "raw bytes"):
                Webhook(SECRET).verify(body, delivery())

    def test_secrets_are_in_no_message_and_no_view(self):
        for secret in ("whsec_not*base64", "whsk_abcdefgh", "whsec_c2hvcnQ=", "v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"):
            with self.assertRaises(ValueError) as raised:
                Webhook(secret)
            self.assertNotIn(secret, str(raised.exception))
        for secret in (None, [], [None], b"bytes", ""):
            self.assertRaisesRegex(ValueError, "secret", Webhook, secret)
        with self.assertRaisesRegex(TypeError, "headers of the request"):
            Webhook(SECRET).verify(b"", None)
        client = Hookbus("the-very-token", "http://h")
        self.assertNotIn("the-very", repr([Webhook("the-very-secret"), client, client._settings]))
        with self.assertRaisesRegex(ValueError, "visible ASCII") as raised:
            Hookbus("the-very\ntoken", "http://h")
        self.assertNotIn("the-very", str(raised.exception))


class Calls(unittest.TestCase):
    def client(self, handler, **options):
        return Hookbus("t", "http://h", transport=httpx.MockTransport(handler), **options)

    def test_pages_follow_the_links(self):
        asked = []

        def handler(request):
            asked.append(str(request.url))
            headers = {"link": '</api/v1/subscriptions?cursor=b>; rel="next"'} if len(asked) == 1 else {}
            return httpx.Response(200, json=[{"subscription_id": str(len(asked))}], headers=headers)

        items = list(self.client(handler).subscriptions.list(application_id="a"))
        self.assertEqual([item["subscription_id"] for item in items], ["1", "2"])
        self.assertEqual(asked, ["http://h/api/v1/subscriptions?application_id=a", "http://h/api/v1/subscriptions?cursor=b"])

    def test_segments_are_encoded_and_steps_up_refused(self):
        asked = []

        def handler(request):
            asked.append(request.url.raw_path)
            return httpx.Response(200, json={})

        self.client(handler).event_types.get("a/b ?é", application_id="x&y")
        self.assertEqual(asked, [b"/api/v1/event_types/a%2Fb%20%3F%C3%A9?application_id=x%26y"])
        for segment in ("", ".", ".."):
            self.assertRaises(ValueError, self.client(handler).event_types.get, segment, application_id="a")
        self.assertRaisesRegex(TypeError, "an id is a text, not NoneType", self.client(handler).applications.get, None)

    def test_what_cannot_stand_in_a_header_is_told_before_it_is_sent(self):
        client = self.client(lambda request: self.fail("it was sent"))
        for value in ("a\r\nx-b: c", "é"):
            with self.assertRaisesRegex(ValueError, "applications.get: If-None-Match has characters"):
                client.applications.get("a", if_none_match=value)

    def test_a_post_that_is_no_event_carries_one_key_for_all_its_tries(self):
        keys = []

        def handler(request):
            keys.append(request.headers["idempotency-key"])
            if len(keys) == 1:
                raise httpx.ReadTimeout("planted", request=request)
            return httpx.Response(201, json={})

        self.client(handler).applications.create({"name": "n", "organization_id": "o"})
        self.assertTrue(keys[0] and keys[0] == keys[1])

    def test_a_key_of_the_caller_is_the_one_that_goes_out(self):
        keys = []

        def handler(request):
            keys.append(request.headers.get_list("idempotency-key"))
            return httpx.Response(202, json={})

        self.client(handler).replays.create({"application_id": "a"}, idempotency_key="mine")
        self.assertEqual(keys, [["mine"]])

    def test_an_encoding_nobody_asked_for_is_refused(self):
        client = self.client(lambda request: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"x")))
        self.assertRaises(errors.BadAnswer, client.instance.get)

    def test_errors_survive_a_pickle(self):
        problem = {"id": "NotFound", "detail": "gone", "status": 404}
        client = self.client(lambda request: httpx.Response(404, json=problem, headers={"x-request-id": "r"}))
        with self.assertRaises(errors.NotFound) as raised:
            client.applications.get("a")
        again = pickle.loads(pickle.dumps(raised.exception))
        self.assertEqual((type(again), again.id, again.request_id, str(again)), (errors.NotFound, "NotFound", "r", str(raised.exception)))

    def test_not_modified(self):
        client = self.client(lambda request: httpx.Response(304))
        with self.assertRaises(errors.NotModified):
            client.applications.get("a", if_none_match='"1"')

    def test_batches_are_bounded(self):
        sizes = []

        def handler(request):
            events = json.loads(request.content)["events"]
            sizes.append((len(events), len(request.content)))
            return httpx.Response(200, json={"results": [{"application_id": "a", "event_id": event["event_id"]} for event in events]})

        client = self.client(handler)
        client.message.create_many("a", (MessageIn("x.y", n) for n in range(2500)))
        client.message.create_many("a", (MessageIn("x.y", RawJson('"' + "é" * 100_000 + '"')) for _ in range(30)))
        self.assertEqual([count for count, _ in sizes], [1000, 1000, 500, 10, 10, 10])
        self.assertLessEqual(max(size for _, size in sizes), 2 * 1024 * 1024)

    def test_what_is_no_json_is_refused_before_it_is_sent(self):
        client = self.client(lambda request: self.fail("it was sent"))
        for payload in (float("nan"), {"a": {1, 2}}):
            self.assertRaises((ValueError, TypeError), client.message.create, "a", MessageIn("x.y", payload))
        with self.assertRaisesRegex(ValueError, "zone"):
            client.message.create("a", MessageIn("x.y", {}, occurred_at=datetime(2026, 1, 1)))

    def test_raw_json_is_one_value_and_reaches_into_nothing_around_it(self):
        forged = ('{},"event_type":"x"', '{}},{"application_id":"other","payload":{}', "NaN", "1 2", "", " ", b"\xff", "[" * 100_000)
        for text in forged:
            with self.subTest(text[:20]), self.assertRaisesRegex(ValueError, "one JSON value"):
                RawJson(text)
        for text in ("9" * 10_000, "1e999", ' {"a":1, "a":2} '):
            self.assertEqual(RawJson(text).content, text.encode())

    def test_every_field_of_a_message_goes_out(self):
        sent = []

        def handler(request):
            sent.append(request.read())
            return httpx.Response(201, json={"application_id": "a", "event_id": "e", "received_at": "now"})

        at = datetime(2026, 1, 1, tzinfo=timezone.utc)
        self.client(handler).message.create("a", MessageIn("x.y", {"n": 2**70}, event_id="e", occurred_at=at))
        self.assertIn(b'"occurred_at":"2026-01-01T00:00:00+00:00","payload":{"n":1180591620717411303424}', sent[0])


if __name__ == "__main__":
    unittest.main()
