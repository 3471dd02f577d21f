"""What the SDKs meet in a run: `hookbus dev`, an endpoint that takes deliveries, a proxy that loses answers."""

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

ROOT = Path(__file__).resolve().parents[3]
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
        partitions = "\n".join(f"{name} = 1" for name in ("events", "deliveries", "retry", "dead_letters", "attempts", "rejected", "retried", "seen"))
        self.file = self.folder / "hookbus.toml"
        self.file.write_text(
            f'[topics]\nprefix = "s{secrets.token_hex(5)}."\nreplication_factor = 1\n[topics.partitions]\n{partitions}\n'
            f'[gateway]\nlisten = "127.0.0.1:{gateway}"\n[admin]\nlisten = "127.0.0.1:{self.admin}"\n'
        )
        self.log = open(self.folder / "dev.log", "ab")
        self.start()
        self.address = ("127.0.0.1", gateway)
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
                    raise SystemExit(f"hookbus dev does not get ready:\n{(self.folder / 'dev.log').read_text()[-4000:]}") from None
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
