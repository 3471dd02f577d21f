"""Sending events: one, or many."""

from __future__ import annotations

import json
import random
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Set, Tuple, Union

from . import errors
from ._core import Bound, Call, Flow, Pause, Settings, decode, encode, exchange, transient
from ._retry import pause

__all__ = ["MessageIn", "MessageOut", "MessageResult", "RawJson"]

MAX_EVENTS = 1000
MAX_BYTES = 2 * 1024 * 1024
_HEAD, _TAIL = b'{"events":[', b"]}"


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


class RawJson:
    """A payload that is JSON text already: it arrives byte for byte."""

    def __init__(self, text: Union[str, bytes]) -> None:
        self.content = text.encode() if isinstance(text, str) else bytes(text)
        # What is no JSON value on its own would reach into the fields around it. Numbers are not read: they may be of any size.
        try:
            json.loads(self.content.decode(), parse_int=len, parse_float=len, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise ValueError("a RawJson holds one JSON value, and this text is none") from None


@dataclass(frozen=True)
class MessageIn:
    """An event to send.

    Attributes:
        event_type: a type that the application has declared, such as `invoice.paid`.
        payload: a JSON value; `RawJson(text)`; or text together with `payload_content_type`.
        event_id: 1 to 128 visible ASCII characters, the idempotency key; one is made if it is left out.
        labels: what subscriptions select by.
        occurred_at: when it happened, with its zone; now, if left out.
        metadata: the sender's own data.
        ordering_key: events with one key are fanned out in order.
    """

    event_type: str
    payload: Any
    event_id: Optional[str] = None
    labels: Optional[Mapping[str, str]] = None
    occurred_at: Optional[datetime] = None
    metadata: Optional[Mapping[str, str]] = None
    ordering_key: Optional[str] = None
    payload_content_type: Optional[str] = None


@dataclass(frozen=True)
class MessageOut:
    """An event that Kafka has. `received_at` (RFC 3339) is None where a repeat learnt only that it is there."""

    application_id: str
    event_id: str
    received_at: Optional[str]


@dataclass(frozen=True)
class MessageResult:
    """What became of one event of many: `message`, or the `error` it was refused for."""

    event_id: str
    message: Optional[MessageOut] = None
    error: Optional[errors.HookbusError] = None


def encoded(application_id: str, message: MessageIn) -> Tuple[str, bytes]:
    """An event's id and its bytes as they go out."""
    given: Any = message
    if not isinstance(given, MessageIn):
        raise TypeError(f"an event is a MessageIn, not {type(given).__name__}")
    event_id = message.event_id if message.event_id is not None else str(uuid.uuid4())
    fields: Dict[str, Any] = {"application_id": application_id, "event_type": message.event_type, "event_id": event_id}
    if message.occurred_at is not None:
        at: Any = message.occurred_at
        if not isinstance(at, datetime):
            raise TypeError(f"occurred_at is a datetime, not {type(at).__name__}")
        if message.occurred_at.tzinfo is None:
            raise ValueError("occurred_at needs a zone, such as datetime.now(timezone.utc)")
        fields["occurred_at"] = message.occurred_at.isoformat()
    for name in ("labels", "metadata"):
        pairs = getattr(message, name)
        if pairs is not None:
            fields[name] = dict(pairs)
    for name in ("ordering_key", "payload_content_type"):
        if getattr(message, name) is not None:
            fields[name] = getattr(message, name)
    payload = message.payload.content if isinstance(message.payload, RawJson) else encode(message.payload)
    return event_id, encode(fields)[:-1] + b',"payload":' + payload + b"}"


def create(settings: Settings, application_id: str, message: MessageIn) -> Flow[MessageOut]:
    """Sends one event, and again until it is there."""
    event_id, content = encoded(application_id, message)
    call: Call[Dict[str, str]] = Call("events.ingest", "POST", ("api", "v1", "event"), content=content)
    try:
        answer = yield from exchange(settings, call)
        if answer.status == 409:
            return MessageOut(application_id, event_id, None)
        return out(decode(call, answer), application_id, event_id, "events.ingest")
    except errors.HookbusError as error:
        # What may have arrived can be sent again under this id only.
        error.event_id = event_id
        raise


def out(read: Any, application_id: str, event_id: str, operation: str) -> MessageOut:
    """What an accepted event is answered with. What names no event is from somewhere else, which has not taken it; what names another
    one is the answer of another request."""
    if not isinstance(read, dict) or not isinstance(read.get("event_id"), str):
        raise errors.BadAnswer("the answer is not that of an event: is base_url the address of Hookbus?", operation=operation)
    if read["event_id"] != event_id:
        raise errors.BadAnswer("the answer is that of another event", operation=operation)
    received_at = read.get("received_at")
    told = str(received_at) if received_at is not None else None
    return MessageOut(str(read.get("application_id", application_id)), read["event_id"], told)


@dataclass(frozen=True)
class _Ready:
    """An event that can go out, and its place among those that were given."""

    place: int
    event_id: str
    content: bytes


def ready(application_id: str, messages: Iterable[MessageIn], results: Dict[int, MessageResult]) -> Iterator[_Ready]:
    """Those that can go out. Of the others, the results say why not: what was sent before them is not lost sight of."""
    for place, message in enumerate(messages):
        try:
            yield _Ready(place, *encoded(application_id, message))
        except (TypeError, ValueError, RecursionError) as error:
            given = getattr(message, "event_id", None) or ""
            results[place] = MessageResult(given, error=errors.InvalidMessage(str(error), operation="events.ingestBatch", tries=0))


def batches(events: Iterable[_Ready]) -> Iterator[List[_Ready]]:
    """Parts of at most 1,000 events and 2 MiB. One that is larger alone goes alone, and the server says what it thinks of it."""
    part: List[_Ready] = []
    size = len(_HEAD) + len(_TAIL)
    for event in events:
        if part and (len(part) == MAX_EVENTS or size + len(event.content) + 1 > MAX_BYTES):
            yield part
            part, size = [], len(_HEAD) + len(_TAIL)
        part.append(event)
        size += len(event.content) + 1
    if part:
        yield part


def create_batch(
    settings: Settings, application_id: str, part: List[_Ready]
) -> Flow[Tuple[Dict[int, MessageResult], Optional[errors.HookbusError]]]:
    """One request's events: what each became, and what the request failed for. Those that are worth a repeat are sent again, alone
    among themselves."""
    results: Dict[int, MessageResult] = {}
    failure: Optional[errors.HookbusError] = None
    may_have_arrived: Set[int] = set()
    waiting = part
    begun, rounds = time.monotonic(), 0
    while True:
        content = _HEAD + b",".join(event.content for event in waiting) + _TAIL
        call: Call[Dict[str, Any]] = Call("events.ingestBatch", "POST", ("api", "v1", "events:batch"), content=content)
        try:
            answer = yield from exchange(settings, call)
            read: Any = decode(call, answer)
            told = read.get("results") if isinstance(read, dict) else None
            if not isinstance(told, list) or len(told) != len(waiting):
                raise errors.BadAnswer("a result for each event was expected", operation=call.operation)
        except errors.HookbusError as error:
            failure = error
            results.update({event.place: MessageResult(event.event_id, error=error) for event in waiting})
            break
        rounds += 1
        again = []
        if answer.may_have_arrived:
            may_have_arrived.update(event.place for event in waiting)
        for event, result in zip(waiting, told):
            tries = rounds + answer.tries - 1
            results[event.place] = one_of(result, application_id, event.event_id, tries, event.place in may_have_arrived)
            error_of_one = results[event.place].error
            if transient(error_of_one):
                again.append(event)
            if isinstance(error_of_one, errors.ApiError) and error_of_one.status >= 500:
                may_have_arrived.add(event.place)
        wait = pause(settings.retry, rounds, time.monotonic() - begun, None, random.random) if again else None
        if wait is None:
            break
        waiting = again
        yield Pause(wait)
    return results, failure


def one_of(result: Any, application_id: str, event_id: str, tries: int, may_have_arrived: bool) -> MessageResult:
    """What the server says of one event. After a try that may have arrived, a 409 says that it has brought it."""
    refused = result.get("problem") if isinstance(result, dict) else None
    if not isinstance(refused, dict):
        try:
            return MessageResult(event_id, out(result, application_id, event_id, "events.ingestBatch"))
        except errors.BadAnswer as bad:
            return MessageResult(event_id, error=bad)
    kind = errors.BY_ID.get(str(refused.get("id")), errors.ApiError)
    if kind is errors.EventAlreadyIngested and may_have_arrived:
        return MessageResult(event_id, MessageOut(application_id, event_id, None))
    status = refused.get("status")
    error = kind(status if isinstance(status, int) else 0, refused, operation="events.ingestBatch", tries=tries)
    return MessageResult(event_id, error=error)


def create_many(settings: Settings, application_id: str, messages: Iterable[MessageIn]) -> Flow[List[MessageResult]]:
    """Sends all of them in their order. After a request that failed as a whole nothing more is sent: the rest has its error too."""
    results: Dict[int, MessageResult] = {}
    ended: Optional[errors.HookbusError] = None
    for part in batches(ready(application_id, messages, results)):
        if ended is not None:
            results.update({event.place: MessageResult(event.event_id, error=ended) for event in part})
            continue
        done, failure = yield from create_batch(settings, application_id, part)
        results.update(done)
        if failure is not None and not _of_one_event(failure):
            ended = failure
    return [results[place] for place in range(len(results))]


def _of_one_event(error: errors.HookbusError) -> bool:
    """Whether a whole request failed for what it held, so that others may succeed."""
    return isinstance(error, errors.ApiError) and error.status in (400, 413, 422)


class Messages(Bound):
    """Sending events, blocking."""

    def create(self, application_id: str, message: MessageIn) -> MessageOut:
        """Sends one event: it is in Kafka when this returns. Safe to repeat, and repeated as the client's policy says."""
        result: MessageOut = self._run(create(self._settings, application_id, message))
        return result

    def create_many(self, application_id: str, messages: Iterable[MessageIn]) -> List[MessageResult]:
        """Sends many, up to 1,000 or 2 MiB a request, and says for each what became of it, in their order."""
        result: List[MessageResult] = self._run(create_many(self._settings, application_id, messages))
        return result


class AsyncMessages(Bound):
    """Sending events, awaiting."""

    async def create(self, application_id: str, message: MessageIn) -> MessageOut:
        """Sends one event: it is in Kafka when this returns. Safe to repeat, and repeated as the client's policy says."""
        result: MessageOut = await self._run(create(self._settings, application_id, message))
        return result

    async def create_many(self, application_id: str, messages: Iterable[MessageIn]) -> List[MessageResult]:
        """Sends many, up to 1,000 or 2 MiB a request, and says for each what became of it, in their order."""
        result: List[MessageResult] = await self._run(create_many(self._settings, application_id, messages))
        return result
