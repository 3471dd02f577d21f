"""What is sent again, what a repeat's refusal means, and what none of it shows."""

import json
import http.server
import logging
import os
import pickle
import threading
import unittest
from unittest import mock

import httpx

from hookbus import AsyncHookbus, Hookbus, MessageIn, RetryPolicy, errors
from hookbus._core import Try

RETRY = RetryPolicy(total=5, first=0.001, longest=0.001)
LIMITED = {"id": "RateLimited", "status": 429, "detail": "later"}
BROKEN = {"id": "InternalServerError", "status": 500, "detail": "it broke"}
THERE = {"id": "EventAlreadyIngested", "status": 409, "detail": "it is there"}
GONE = {"id": "NotFound", "status": 404, "detail": "there is none"}


def lost(request):
    raise httpx.ReadError("planted", request=request)


def there(request):
    events = json.loads(request.content)["events"]
    return httpx.Response(200, json={"results": [{"event_id": event["event_id"]} for event in events]})


def of_one(problem):
    return httpx.Response(200, json={"results": [{"problem": problem}]})


class Scripted:
    """Answers by the number of the call, and remembers what was asked."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def __call__(self, request):
        self.asked.append(request)
        answer = self.answers[len(self.asked) - 1]
        return answer(request) if callable(answer) else answer

    def client(self, token="t"):
        return Hookbus(token, "http://h", retry=RETRY, transport=httpx.MockTransport(self))


class Events(unittest.TestCase):
    """`events.ingest` and `events.ingest_batch`, whose requests carry no Idempotency-Key."""

    def test_an_event_gets_its_id_before_the_first_try(self):
        script = Scripted(lost, httpx.Response(409, json=THERE))
        body = {"application_id": "a", "event_type": "x.y", "payload": {}}
        sent = script.client().events.ingest(body)
        first, second = (json.loads(request.content) for request in script.asked)
        self.assertEqual((first, sent), (second, {"application_id": "a", "event_id": first["event_id"]}))
        self.assertNotIn("event_id", body, "what was given is as it was")

    def test_an_event_that_was_there_before_the_first_try_is_an_error(self):
        script = Scripted(httpx.Response(409, json=THERE))
        self.assertRaises(errors.EventAlreadyIngested, script.client().events.ingest, {"event_id": "e", "event_type": "x.y", "payload": {}})

    def test_events_of_a_batch_get_theirs(self):
        refused = {"problem": {"id": "EventTypeDoesNotExist", "status": 400}}
        results = [{"problem": THERE}, refused, {"application_id": "a", "event_id": "e2", "received_at": "now"}]
        script = Scripted(lost, httpx.Response(200, json={"results": results}))
        told = script.client().events.ingest_batch({"events": [{"event_type": "x.y", "payload": n} for n in range(2)] + [{"event_id": "e2"}]})
        first, second = (json.loads(request.content)["events"] for request in script.asked)
        self.assertEqual(first, second)
        self.assertEqual(told["results"], [{"event_id": first[0]["event_id"]}, refused, results[2]])

    def test_what_cannot_be_written_is_told_and_the_others_go_out(self):
        script = Scripted(there, there)
        messages = [MessageIn("x.y", n, event_id=f"e{n}") for n in range(1500)]
        messages[1200] = MessageIn("x.y", float("nan"), event_id="e1200")
        messages[1300] = {"event_type": "x.y"}
        messages[1400] = MessageIn("x.y", 1, event_id="e1400", occurred_at="2026-11-30T00:00:00Z")
        results = script.client().message.create_many("a", messages)
        self.assertEqual([len(json.loads(request.content)["events"]) for request in script.asked], [1000, 497])
        self.assertEqual([place for place, result in enumerate(results) if result.error], [1200, 1300, 1400])
        self.assertEqual([result.event_id for result in results[:1201]], [f"e{n}" for n in range(1201)])
        self.assertIsInstance(results[1200].error, errors.InvalidMessage)
        self.assertIn("MessageIn, not dict", str(results[1300].error))
        self.assertIn("datetime, not str", str(results[1400].error))

    def test_an_event_that_may_have_arrived_tells_its_id(self):
        script = Scripted(*[lost] * 2)
        with self.assertRaises(errors.ConnectionFailed) as raised:
            Hookbus("t", "http://h", retry=RetryPolicy(total=0), transport=httpx.MockTransport(script)).message.create("a", MessageIn("x.y", 1))
        made = json.loads(script.asked[0].content)["event_id"]
        self.assertEqual((raised.exception.event_id, pickle.loads(pickle.dumps(raised.exception)).event_id), (made, made))

    def test_the_refusal_of_one_event_does_not_stop_the_others(self):
        script = Scripted(of_one(THERE), there)
        messages = [MessageIn("x.y", "p" * 1_500_000, event_id=f"e{n}") for n in range(2)]
        refused, sent = script.client().message.create_many("a", messages)
        self.assertIsInstance(refused.error, errors.EventAlreadyIngested)
        self.assertEqual((sent.message.event_id, len(script.asked)), ("e1", 2))

    def test_what_was_there_before_a_try_that_cannot_have_arrived_is_an_error(self):
        limited = httpx.Response(429, json=LIMITED)
        for first, brought in ((limited, False), (of_one(LIMITED), False), (of_one(BROKEN), True), (lost, True)):
            (result,) = Scripted(first, of_one(THERE)).client().message.create_many("a", [MessageIn("x.y", 1, event_id="e")])
            self.assertEqual(result.message is not None, brought, result)
        (told,) = Scripted(limited, of_one(THERE)).client().events.ingest_batch({"events": [{"event_id": "e"}]})["results"]
        self.assertEqual(told, {"problem": THERE})

    def test_the_answer_of_another_event_is_none(self):
        another = {"application_id": "a", "event_id": "another", "received_at": "now"}
        with self.assertRaisesRegex(errors.BadAnswer, "another event"):
            Scripted(httpx.Response(201, json=another)).client().message.create("a", MessageIn("x.y", 1, event_id="e"))
        script = Scripted(httpx.Response(200, json={"results": [another]}))
        (result,) = script.client().message.create_many("a", [MessageIn("x.y", 1, event_id="e")])
        self.assertIsInstance(result.error, errors.BadAnswer)


class Connections(unittest.TestCase):
    def setUp(self):
        seen = self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                seen.append((self.client_address, self.headers.get("cookie")))
                self.send_response(200)
                self.send_header("content-length", "2")
                self.send_header("set-cookie", f"c{len(seen)}=kept")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def test_a_process_that_was_forked_has_connections_of_its_own(self):
        with Hookbus("t", self.url) as client:
            client.instance.get()
            client.instance.get()
            before = client._http
            with mock.patch("os.getpid", return_value=os.getpid() + 1):
                client.instance.get()
                client.instance.get()
            before.close()
        first, second, third, fourth = [address for address, _ in self.seen]
        self.assertEqual((first, third), (second, fourth))
        self.assertNotEqual(first, third)

    def test_cookies_are_not_kept(self):
        with Hookbus("t", self.url) as client:
            client.instance.get()
            client.instance.get()
        self.assertEqual([cookie for _, cookie in self.seen], [None, None])

    def test_a_try_without_an_end_has_one(self):
        with Hookbus("t", self.url, retry=RetryPolicy(per_try=float("inf"), total=float("inf"))) as client:
            self.assertEqual(client.instance.get(), {})


class Deletes(unittest.TestCase):
    def test_what_a_lost_try_has_deleted_is_deleted(self):
        script = Scripted(lost, httpx.Response(404, json=GONE))
        self.assertIsNone(script.client().applications.delete("a"))

    def test_what_was_never_there_is_an_error(self):
        script = Scripted(httpx.Response(404, json=GONE))
        self.assertRaises(errors.NotFound, script.client().applications.delete, "a")


class Shown(unittest.TestCase):
    def test_neither_views_nor_logs_hold_a_token(self):
        script = Scripted(httpx.Response(200, json={}), httpx.Response(200, json={}))
        client = script.client("the-very-token")
        step = Try("GET", "http://h", client._settings.headers, None, 1.0)
        self.assertNotIn("the-very", repr([step, client._settings.headers]))
        with self.assertLogs(level=logging.DEBUG) as logs:
            client.application_secrets.update("the-very-secret", {"application_id": "a", "name": "n"})
            client.applications.get("a")
        self.assertTrue(any("/api/v1/applications/a" in line for line in logs.output), logs.output)
        self.assertFalse([line for line in logs.output if "the-very" in line])
        self.assertEqual(script.asked[0].url.path, "/api/v1/application_secrets/the-very-secret")

    def test_the_text_of_an_error_is_bounded(self):
        script = Scripted(httpx.Response(404, json={**GONE, "detail": "x" * 100_000}))
        with self.assertRaises(errors.NotFound) as raised:
            script.client().applications.get("a")
        self.assertLess(len(str(raised.exception)), 1200)
        self.assertEqual(len(raised.exception.detail), 100_000)

    def test_an_answer_of_somebody_else_says_so(self):
        for answer, told in ((httpx.Response(302, headers={"location": "http://x"}), "redirect"), (httpx.Response(404, text="<html>"), "no problem")):
            with self.assertRaisesRegex(errors.ApiError, f"^applications.get: {answer.status_code}: .*{told}.*base_url"):
                Scripted(answer).client().applications.get("a")

    def test_addresses_that_are_none_are_refused_with_words(self):
        wrong = ("127.0.0.1:8080", "h", "ftp://h", "http://", "http://h:port", "http://me:the-very@h", "http://h?the-very", "http://h/#the-very")
        for kind in (Hookbus, AsyncHookbus):
            for address in wrong:
                with self.subTest(address), self.assertRaisesRegex(ValueError, "the address of Hookbus") as raised:
                    kind("t", address)
                self.assertNotIn("the-very", str(raised.exception))
        with self.assertRaisesRegex(ValueError, "without `Bearer`"):
            Hookbus("Bearer t", "http://h")


if __name__ == "__main__":
    unittest.main()
