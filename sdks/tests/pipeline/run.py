"""Both SDKs, as they were installed, against `hookbus dev` on the Kafka of the run: `with-kafka -- sdks/pipeline.sh`.

A scenario (`scenario.py`, `scenario.mjs`) is a process that speaks JSON lines with this one: it gets a set-up, says its subscription's
secret, how many events it sent, and in the end what it called. The receiver here verifies each delivery with the Python package, and
has the Node package verify the same bytes.
"""

import base64
import http.server
import json
import os
import queue
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from hookbus import Hookbus, MessageIn, RetryPolicy, Webhook

ROOT = Path(__file__).resolve().parents[3]
USER = ROOT / "var/sdks/user"
BINARY = os.environ.get("HOOKBUS_BIN") or str(ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug/hookbus")
#: Nothing here takes half as long on two busy cores.
PATIENCE = 120.0


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Dev:
    """`hookbus dev` with topics and ports of its own, which may be killed and started again."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="hookbus-sdks-"))
        self.admin, gateway = free_port(), free_port()
        partitions = "\n".join(f"{name} = 1" for name in ("events", "deliveries", "retry", "dead_letters", "attempts", "rejected", "seen"))
        self.file = self.folder / "hookbus.toml"
        self.file.write_text(
            f'[topics]\nprefix = "s{secrets.token_hex(5)}."\nreplication_factor = 1\n[topics.partitions]\n{partitions}\n'
            f'[gateway]\nlisten = "127.0.0.1:{gateway}"\n[admin]\nlisten = "127.0.0.1:{self.admin}"\n'
        )
        self.log = open(self.folder / "log", "ab")
        self.start()
        self.base = self.info["gateway_url"] + "/api/v1"

    def start(self):
        environment = {**os.environ, "HOOKBUS__KAFKA__BROKERS": os.environ["HOOKBUS_TEST_KAFKA"].split(" ")[0]}
        arguments = [BINARY, "--config", self.file, "dev", "--yes", "--folder", self.folder]
        self.process = subprocess.Popen(arguments, env=environment, stdout=self.log, stderr=self.log)
        self.wait_ready()

    def wait_ready(self):
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self.info = json.loads((self.folder / "info.json").read_text())
                with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=5):
                    return
            except (OSError, ValueError):
                if self.process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"hookbus dev does not get ready:\n{(self.folder / 'log').read_text()[-4000:]}") from None
                time.sleep(0.2)

    def kill(self):
        self.process.kill()
        self.process.wait()
        (self.folder / "info.json").unlink(missing_ok=True)


class Endpoint(http.server.ThreadingHTTPServer):
    """Takes deliveries and hands them on."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Taking)
        self.taken = queue.Queue()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A worker that is killed resets its connections."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Taking(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken.put((self.path, self.headers.items(), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def scenario(name, command, dev, endpoint, node):
    """One SDK: everything it sends arrives and verifies in both languages, and it calls every operation."""
    operations = ROOT / "var/sdks/operations.json"
    page = ROOT / f"sdks/tests/page/{name}.txt"
    path = f"/{name}"
    setup = {"base": dev.base, "admin_key": dev.info["admin_key"], "receiver": endpoint.url + path}
    setup |= {"page": str(page), "operations": str(operations)}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=USER / "node")
    print(json.dumps(setup), file=process.stdin, flush=True)

    def told(what):
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{name}: ended with {process.wait()} before it said {what}")
        return json.loads(line)[what]

    secret = told("secret")
    webhook = Webhook(secret)
    sent = told("sent") + 1  # the ping
    for _ in range(sent):
        _, headers, body = endpoint.taken.get(timeout=PATIENCE)
        event = webhook.verify(body, headers)
        request = {"secret": secret, "headers": headers, "body": base64.b64encode(body).decode()}
        print(json.dumps(request), file=node.stdin, flush=True)
        assert json.loads(node.stdout.readline()) == {"id": event.id, "data": event.data}, event
    print("arrived", file=process.stdin, flush=True)
    done = set(told("done"))
    assert process.wait() == 0
    listed = {operation["id"] for operation in json.loads(operations.read_text())}
    assert done == listed, f"{name}: not called: {sorted(listed - done)}; unknown: {sorted(done - listed)}"
    print(f"    {name}: {len(done)} operations called, {sent} deliveries verified by both")


class LossyProxy:
    """Hands connections on, and loses the answers of every third: what was asked has been done, and nobody hears of it."""

    def __init__(self, target):
        self.target = target
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        self.lost = self.answered = 0
        self.on_answer = lambda: None
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            threading.Thread(target=self.serve, args=(self.server.accept()[0],), daemon=True).start()

    def serve(self, client):
        try:
            upstream = socket.create_connection(self.target)
        except OSError:
            return client.close()
        threading.Thread(target=self.pump, args=(client, upstream), daemon=True).start()
        try:
            while data := upstream.recv(65536):
                if data.startswith(b"HTTP/1.1 "):
                    self.answered += 1
                    self.on_answer()
                    if self.answered % 3 == 0:
                        self.lost += 1
                        break
                client.sendall(data)
        except OSError:
            pass
        for end in (client, upstream):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    @staticmethod
    def pump(client, upstream):
        try:
            while data := client.recv(65536):
                upstream.sendall(data)
        except OSError:
            pass


def killed_while_sending(dev, endpoint):
    """10,000 events in batches, answers lost, the server killed and started again: each arrives, and none is another event."""
    count, killed = 10_000, threading.Event()
    admin = Hookbus(dev.info["admin_key"], dev.base, retry=RetryPolicy(total=PATIENCE))
    organization = admin.organizations.create({"name": "Killed"})["organization_id"]
    application = admin.applications.create({"organization_id": organization, "name": "Killed"})["application_id"]
    admin.event_types.create({"application_id": application, "name": "invoice.paid"})
    target = {"type": "http", "method": "POST", "url": endpoint.url + "/killed", "headers": {}}
    admin.subscriptions.create({"application_id": application, "is_enabled": True, "event_types": ["invoice.paid"], "labels": {}, "target": target})
    host, port = dev.base.removeprefix("http://").split("/")[0].split(":")
    proxy = LossyProxy((host, int(port)))

    def on_answer():
        if proxy.answered == 4 and not killed.is_set():
            killed.set()
            dev.kill()
            threading.Thread(target=dev.start, daemon=True).start()

    proxy.on_answer = on_answer
    with Hookbus(dev.info["admin_key"], proxy.url, retry=RetryPolicy(total=PATIENCE, per_try=20)) as client:
        results = client.message.create_many(application, [MessageIn("invoice.paid", {"n": n}, event_id=f"evt_{n}") for n in range(count)])
    failed = [result for result in results if result.error]
    assert not failed, f"{len(failed)} failed: {failed[0]}"
    assert killed.is_set() and proxy.lost > 2
    arrived, deliveries = {}, {}
    while len(arrived) < count:
        _, headers, body = endpoint.taken.get(timeout=PATIENCE)
        found = {name.lower(): value for name, value in headers}
        arrived.setdefault(found["x-event-id"], set()).add(body)
        deliveries.setdefault(found["x-event-id"], set()).add(found["x-hookbus-delivery-id"])
    assert set(arrived) == {f"evt_{n}" for n in range(count)} and all(len(bodies) == 1 for bodies in arrived.values())
    twice = [event for event, ids in deliveries.items() if len(ids) > 1]
    assert not twice, f"{len(twice)} events became two deliveries"
    print(f"    create_many: {count} events, {proxy.lost} answers lost, 1 kill, {len(arrived)} delivered, none as two deliveries")


def main():
    endpoint, dev = Endpoint(), Dev()
    verifier = ["node", "test/verify.mjs"]
    node = subprocess.Popen(verifier, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=USER / "node")
    try:
        scenario("python", [sys.executable, ROOT / "sdks/tests/pipeline/scenario.py"], dev, endpoint, node)
        scenario("node", ["node", "test/scenario.mjs"], dev, endpoint, node)
        killed_while_sending(dev, endpoint)
    finally:
        node.stdin.close()
        dev.process.terminate()
        dev.process.wait()


if __name__ == "__main__":
    main()
