"""One deadline over all reads and writes of a try.

httpx bounds each read alone: a server that sends a byte of its headers now and then would hold a thread for as long as it likes. Only
the blocking client needs this; what is awaited is bounded from outside.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import Any, Generator, Optional

import httpx

from ._errors import TimedOut

#: How much is written under one look at the clock, in bytes.
_PART = 64 * 1024
_thread = threading.local()


@contextmanager
def deadline(until: float) -> Generator[None, None, None]:
    """What this thread reads and writes inside ends at `until`, of the monotonic clock."""
    _thread.until = until
    try:
        yield
    finally:
        _thread.until = None


def bound(client: httpx.Client) -> None:
    """Makes the connections of a client keep to the deadline of the thread that uses them.

    httpx has no public way to its connections. Where it is built otherwise, each read alone is bounded as before.
    """
    transports = [getattr(client, "_transport", None), *getattr(client, "_mounts", {}).values()]
    for transport in transports:
        pool: Any = getattr(transport, "_pool", None)
        backend = getattr(pool, "_network_backend", None)
        if backend is not None and not isinstance(backend, _Backend):
            pool._network_backend = _Backend(backend)


def _left(timeout: Optional[float]) -> Optional[float]:
    until: Optional[float] = getattr(_thread, "until", None)
    if until is None:
        return timeout
    left = until - time.monotonic()
    if left <= 0:
        raise TimedOut("no whole answer in time")
    return left if timeout is None else min(timeout, left)


class _Backend:
    """What opens connections, with the deadline on each."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def connect_tcp(self, host: str, port: int, timeout: Optional[float] = None, **given: Any) -> _Stream:
        return _Stream(self._inner.connect_tcp(host, port, timeout=_left(timeout), **given))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Stream:
    """A connection. Whoever uses it brings its deadline along."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: Optional[float] = None) -> bytes:
        read: bytes = self._inner.read(max_bytes, timeout=_left(timeout))
        return read

    def write(self, buffer: bytes, timeout: Optional[float] = None) -> None:
        for start in range(0, len(buffer), _PART):
            self._inner.write(buffer[start : start + _PART], timeout=_left(timeout))

    def start_tls(self, ssl_context: Any, server_hostname: Optional[str] = None, timeout: Optional[float] = None) -> _Stream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout=_left(timeout)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
