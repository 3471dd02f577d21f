"""Servers that mean no good, on real sockets: every answer has an end, in bytes and in time."""

import contextlib
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest

from hookbus import AsyncHookbus, Hookbus, RetryPolicy, errors


def once(wanted):
    """A single try. What is to end for another reason has time enough on a busy machine."""
    return {"retry": RetryPolicy(total=0, per_try=0.5 if wanted is errors.TimedOut else 60), "max_answer_bytes": 100_000}


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


class Server:
    """Sends `first`, then `again` for ever, to each connection."""

    def __init__(self, first, again, every=0.02):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.parts, self.every, self.ended = (first, again), every, threading.Event()

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self.url

    def __exit__(self, *_):
        self.ended.set()
        self.listening.close()

    def accept(self):
        try:
            while True:
                threading.Thread(target=self.serve, args=(self.listening.accept()[0],), daemon=True).start()
        except OSError:
            pass  # it was closed

    def serve(self, client):
        first, again = self.parts
        with client:
            try:
                client.recv(65536)
                client.sendall(first)
                while not self.ended.wait(self.every):
                    client.sendall(again)
            except OSError:
                pass  # the client has had enough


HOSTILE = {
    "silence": (b"", b"", errors.TimedOut),
    "a body that drips": (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n", errors.TimedOut),
    "a body that floods": (HEAD + b"content-length: 999999999\r\n\r\n", b"x" * 65536, errors.BadAnswer),
    "headers that flood": (HEAD, b"x-a: " + b"a" * 65536 + b"\r\n", errors.ConnectionFailed),
    "headers that drip": (HEAD, b"x-a: b\r\n", errors.TimedOut),
    "no HTTP": (b"220 smtp ready\r\n\r\n", b"", errors.ConnectionFailed),
    "an answer cut short": (HEAD + b"content-length: 9\r\n\r\n{}", b"", errors.TimedOut),
}


@contextlib.contextmanager
def unsigned():
    """The address of a server whose certificate nobody has signed."""
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = f"{folder}/key", f"{folder}/certificate"
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
        subprocess.run([*made, "-subj", "/CN=localhost", "-keyout", key, "-out", certificate], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

    def accept(listening):
        with contextlib.suppress(OSError):  # it was closed
            while True:
                client, _ = listening.accept()
                with client, contextlib.suppress(OSError):  # the client has had enough
                    context.wrap_socket(client, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, args=(listening,), daemon=True).start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"


PATIENT = RetryPolicy(total=60, per_try=60)


class Hostile(unittest.TestCase):
    def test_a_certificate_that_nobody_has_signed_is_told_after_one_try(self):
        with unsigned() as url, Hookbus("t", url, retry=PATIENT) as client:
            with self.assertRaisesRegex(errors.CertificateRefused, f"{url}: CERTIFICATE_VERIFY_FAILED") as raised:
                client.instance.get()
        self.assertEqual(raised.exception.tries, 1)

    def test_waiting(self):
        for name, (first, again, wanted) in HOSTILE.items():
            with self.subTest(name), Server(first, again) as url, Hookbus("t", url, **once(wanted)) as client:
                self.assertRaises(wanted, client.instance.get)

    def test_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with self.assertRaisesRegex(errors.ConnectionFailed, f"http://127.0.0.1:{port}: ECONNREFUSED"):
            Hookbus("t", f"http://127.0.0.1:{port}", **once(errors.ConnectionFailed)).instance.get()


class HostileAwaiting(unittest.IsolatedAsyncioTestCase):
    async def test_a_certificate_that_nobody_has_signed_is_told_after_one_try(self):
        with unsigned() as url:
            async with AsyncHookbus("t", url, retry=PATIENT) as client:
                with self.assertRaises(errors.CertificateRefused) as raised:
                    await client.instance.get()
        self.assertEqual(raised.exception.tries, 1)

    async def test_awaiting(self):
        for name, (first, again, wanted) in HOSTILE.items():
            with self.subTest(name), Server(first, again) as url:
                async with AsyncHookbus("t", url, **once(wanted)) as client:
                    with self.assertRaises(wanted):
                        await client.instance.get()


if __name__ == "__main__":
    unittest.main()
