"""Receiving well: every delivery verified, every event handled once, and counted."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from contextlib import contextmanager
from typing import Any, Callable, Dict, Generator, Optional, Set

from .webhooks import Headers, Webhook, WebhookError, WebhookEvent

__all__ = ["Counters", "MemorySeen", "Receiver", "Seen", "StillProcessing", "TableSeen"]


class StillProcessing(Exception):
    """Another attempt of an event that is being handled: it may fail yet, so answer 503, and it comes again."""


class Seen:
    """Remembers which events were taken. A store of your own has these two methods."""

    def claim(self, id: str) -> bool:
        """Whether this id is new; from now on it is not."""
        raise NotImplementedError

    def release(self, id: str) -> None:
        """Forgets an id whose event could not be handled, so that the next attempt is taken."""
        raise NotImplementedError


class MemorySeen(Seen):
    """Remembers the last ids in this process: for one process, and for tests."""

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._ids: "OrderedDict[str, None]" = OrderedDict()
        self._lock = threading.Lock()

    def claim(self, id: str) -> bool:
        with self._lock:
            if id in self._ids:
                return False
            self._ids[id] = None
            if len(self._ids) > self._most:
                self._ids.popitem(last=False)
            return True

    def release(self, id: str) -> None:
        with self._lock:
            self._ids.pop(id, None)


class TableSeen(Seen):
    """Remembers ids in a table `webhooks_seen (id TEXT PRIMARY KEY, seen_at ...)` of PostgreSQL or SQLite.

    Arguments:
        connection: of DB-API 2.0. It is not committed here: commit together with what handling the event has written, so that
            both or neither is there.
        mark: the placeholder of its driver: `?` for sqlite3, `%s` for psycopg.
    """

    def __init__(self, connection: Any, mark: str = "%s") -> None:
        if mark not in ("?", "%s"):
            raise ValueError("the placeholder is ? or %s")
        self._connection = connection
        self._insert = f"INSERT INTO webhooks_seen (id) VALUES ({mark}) ON CONFLICT (id) DO NOTHING"
        self._delete = f"DELETE FROM webhooks_seen WHERE id = {mark}"

    def claim(self, id: str) -> bool:
        cursor = self._connection.cursor()
        cursor.execute(self._insert, (id,))
        return int(cursor.rowcount) == 1

    def release(self, id: str) -> None:
        self._connection.cursor().execute(self._delete, (id,))


class Counters:
    """What a receiver has seen. `text()` is a page for Prometheus."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.verified = 0
        self.duplicates = 0
        self.refused: Dict[str, int] = {}
        self.processed = 0
        self.failed = 0
        self.processing_seconds = 0.0

    def add(self, name: str, seconds: float = 0.0) -> None:
        """Counts one `verified`, `duplicates`, `processed` or `failed`, or one refusal for this reason."""
        with self._lock:
            if name in ("verified", "duplicates", "processed", "failed"):
                setattr(self, name, getattr(self, name) + 1)
            else:
                self.refused[name] = self.refused.get(name, 0) + 1
            self.processing_seconds += seconds

    def text(self) -> str:
        """In the text format of Prometheus."""
        with self._lock:
            lines = ["# TYPE webhooks_verified_total counter", f"webhooks_verified_total {self.verified}"]
            lines += ["# TYPE webhooks_duplicates_total counter", f"webhooks_duplicates_total {self.duplicates}"]
            lines += ["# TYPE webhooks_refused_total counter"]
            lines += [f'webhooks_refused_total{{reason="{reason}"}} {count}' for reason, count in sorted(self.refused.items())]
            lines += ["# TYPE webhooks_failed_total counter", f"webhooks_failed_total {self.failed}"]
            lines += ["# TYPE webhooks_processing_seconds summary"]
            lines += [f"webhooks_processing_seconds_sum {self.processing_seconds:.6f}"]
            lines += [f"webhooks_processing_seconds_count {self.processed + self.failed}"]
        return "\n".join(lines) + "\n"


class Receiver:
    """Verifies, drops duplicates, counts. Framework code is left with reading the body and answering."""

    def __init__(
        self,
        webhook: Webhook,
        seen: Optional[Seen] = None,
        counters: Optional[Counters] = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.webhook = webhook
        self.seen = MemorySeen() if seen is None else seen
        self.counters = Counters() if counters is None else counters
        self._clock = clock
        self._processing: Set[str] = set()

    def accept(self, body: bytes, headers: Headers, *, now: Optional[float] = None) -> Optional[WebhookEvent]:
        """A delivery that is to be handled, or None for one that was taken before: answer 2xx to both.

        Raises:
            WebhookError: it does not verify, or (`malformed`) no id of it is signed: answer 401.
            StillProcessing: an attempt before it is inside `processing` of this receiver: answer 503.
        """
        try:
            event = self.webhook.verify(body, headers, now=now)
            if event.id is None:
                raise WebhookError("malformed", "no id is signed, so that duplicates cannot be told: sign with `standard`")
        except WebhookError as error:
            self.counters.add(error.reason)
            raise
        self.counters.add("verified")
        # Before the claim as well: whoever has failed since then has given it back.
        processing = event.id in self._processing
        if self.seen.claim(event.id):
            return event
        self.counters.add("duplicates")
        if processing or event.id in self._processing:
            raise StillProcessing(f"an attempt of {event.id} before this one is still being handled")
        return None

    @contextmanager
    def processing(self, event: WebhookEvent) -> Generator[None, None, None]:
        """Around the handling of an event: takes its time, and takes back the claim if it fails, so that it is delivered again."""
        begun = self._clock()
        if event.id is not None:
            self._processing.add(event.id)
        try:
            yield
        except BaseException:
            # Before the claim: giving it back may fail too, as in a transaction that is broken.
            self.counters.add("failed", self._clock() - begun)
            if event.id is not None:
                self.seen.release(event.id)
            raise
        finally:
            if event.id is not None:
                self._processing.discard(event.id)
        self.counters.add("processed", self._clock() - begun)
