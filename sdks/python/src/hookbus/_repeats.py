"""What a repeat is told by, and what it means that one is refused: that the try before it has done what was asked."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from . import errors

if TYPE_CHECKING:
    from ._core import Call

T = TypeVar("T")


def named(call: Call[T]) -> Call[T]:
    """Events without an id get one before the first try: it is what a repeat is told by, in place of an `Idempotency-Key`."""

    def with_id(event: Any) -> Any:
        return {**event, "event_id": str(uuid.uuid4())} if isinstance(event, dict) and event.get("event_id") is None else event

    if call.operation == "events.ingest":
        return replace(call, body=with_id(call.body))
    if call.operation == "events.ingestBatch" and isinstance(call.body, dict) and isinstance(call.body.get("events"), list):
        return replace(call, body={**call.body, "events": [with_id(event) for event in call.body["events"]]})
    return call


def is_done(call: Call[Any], error: errors.HookbusError) -> bool:
    """Whether a repeat is refused because the try before it has done what was asked."""
    if call.method == "DELETE":
        return isinstance(error, errors.NotFound)
    return call.operation == "events.ingest" and isinstance(error, errors.EventAlreadyIngested)


def known(event: Any) -> Any:
    """What a client knows of an event that is there already."""
    return {name: event[name] for name in ("application_id", "event_id") if name in event}


def brought(call: Call[T], read: Any) -> T:
    """A batch's results after a repeat: an event that is there already was brought by an earlier try."""
    results = read.get("results") if isinstance(read, dict) else None
    if not isinstance(results, list) or len(results) != len(call.body["events"]):
        return read  # type: ignore[no-any-return]
    for place, (event, result) in enumerate(zip(call.body["events"], results)):
        refused = result.get("problem") if isinstance(result, dict) else None
        if isinstance(refused, dict) and refused.get("id") == "EventAlreadyIngested":
            results[place] = known(event)
    return read  # type: ignore[no-any-return]
