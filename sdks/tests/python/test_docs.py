"""The Python code of the pages runs as it stands, against a server that answers everything."""

import contextlib
import http.server
import io
import json
import os
import re
import sqlite3
import threading
import unittest
import unittest.mock
from pathlib import Path

from test_receivers import BODY, SECRET, delivery

SDKS = Path(os.environ["CONFORMANCE"]).parent


def blocks(page, language="python"):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


class Answering(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        event = {"application_id": "app_id", "event_id": body.get("event_id"), "received_at": "2026-11-22T10:30:00Z"}
        of_many = [{**event, "event_id": given["event_id"]} for given in body.get("events", [])]
        known = {
            "/api/v1/event": (201, event),
            "/api/v1/events:batch": (200, {"results": of_many}),
            "/api/v1/applications/nobody": (404, {"id": "NotFound", "status": 404, "detail": "there is none"}),
            "/api/v1/replays": (202, {"job_id": "j"}),
            "/api/v1/jobs/j": (200, {"job_id": "j", "state": "done", "counts": {"written": 7}}),
        }
        subscription = {"subscription_id": "s", "signing_secret": "whsec_"}
        default = (200, [subscription]) if self.command == "GET" else (201, subscription)
        status, told = known.get(self.path, default)
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


class Pages(unittest.TestCase):
    def test_the_readme_runs(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = blocks(SDKS / "python/README.md")
        self.assertGreater(len(found), 6)
        text = "\n".join(found).replace("127.0.0.1:8080", f"127.0.0.1:{server.server_address[1]}")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(text, "README.md", "exec"), names := {})
        names["hook0"].close()
        server.shutdown()
        server.server_close()
        for told in ("evt_123 2026", "sent", "404 NotFound", "done 7", "no_match"):
            self.assertIn(told, printed.getvalue())

    def test_the_page_on_receiving_runs(self):
        page = SDKS.parent / "docs/receiving.md"
        self.enterContext(unittest.mock.patch.dict(os.environ, WEBHOOK_SECRET=f"another-secret,{SECRET}"))
        enqueued = []
        names = {"enqueue": lambda *event: enqueued.append(event)}
        exec(compile("\n".join(blocks(page)), str(page), "exec"), names)
        take, once = names["take"], names["take_once"]
        self.assertEqual([take(BODY, delivery()), take(BODY, delivery()), take(b"", delivery())], [204, 204, 401])
        self.assertEqual(enqueued, [("evt_1", None, BODY)])
        database = sqlite3.connect(":memory:")
        database.executescript("".join(blocks(page, "sql")))
        with self.assertRaises(sqlite3.OperationalError):
            once(database, BODY, delivery())  # the table of its own is missing: nothing was taken
        database.executescript("CREATE TABLE invoices (event BLOB)")
        self.assertEqual([once(database, BODY, delivery()), once(database, BODY, delivery())], [204, 204])
        self.assertEqual(database.execute("SELECT count(*) FROM invoices").fetchone(), (1,))


if __name__ == "__main__":
    unittest.main()
