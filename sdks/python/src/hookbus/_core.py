"""From a call to its answer. The steps are generators that ask for tries and pauses; a blocking and an awaiting driver run them."""

from __future__ import annotations

import json
import os
import platform
import random
import time
import uuid
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Dict, Generator, Generic, Mapping, Optional, Tuple, TypeVar, Union
from urllib.parse import quote, urlencode

import httpx

from . import errors
from ._repeats import brought, is_done, known, named
from ._retry import RetryPolicy, pause, retry_after
from ._version import __version__
from .pages import AsyncPages, Page, Pages, next_page

T = TypeVar("T")

#: Seconds that a try may take at most: operating systems know no longer ones.
LONGEST_TRY = 1_000_000.0
MAX_ANSWER_BYTES = 8 * 1024 * 1024
USER_AGENT = f"hookbus-python/{__version__} (Python {platform.python_version()}; httpx {httpx.__version__})"


@dataclass(frozen=True)
class Call(Generic[T]):
    """What an operation sends. `path` are its segments, not yet encoded; `content` stands in place of `body` where bytes matter."""

    operation: str
    method: str
    path: Tuple[str, ...]
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Optional[str]] = field(default_factory=dict)
    body: Any = None
    content: Optional[bytes] = None


@dataclass(frozen=True)
class Try:
    """One request, ready to go out, and the seconds it may take."""

    method: str
    url: str
    headers: httpx.Headers
    content: Optional[bytes]
    limit: float
    # Whether a secret stands in its path, so that it is shown nowhere.
    secret: bool = False


@dataclass(frozen=True)
class Pause:
    """Seconds to wait."""

    seconds: float


@dataclass(frozen=True)
class Answer:
    """What came back, whole, how often it was asked for, and whether a try before the last may have arrived."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    tries: int = 1
    may_have_arrived: bool = False


Step = Union[Try, Pause]
Outcome = Union[Answer, errors.HookbusError, None]
Flow = Generator[Step, Outcome, T]
Run = Callable[[Flow[Any]], Any]


class Settings:
    """Where calls go and how long they may take. Shows no token."""

    def __init__(
        self,
        token: Optional[str],
        base_url: Optional[str],
        retry: Optional[RetryPolicy],
        on_answer: Optional[Callable[[str, Answer], None]],
    ) -> None:
        token = (token or os.environ.get("HOOKBUS_TOKEN") or "").strip()
        if not token or not all("!" <= letter <= "~" for letter in token):
            raise ValueError("a token of visible ASCII characters is needed, without `Bearer`: the first argument, or HOOKBUS_TOKEN")
        url = base_url or os.environ.get("HOOKBUS_URL") or ""
        if not url:
            raise ValueError("the address of Hookbus is needed: base_url, or HOOKBUS_URL")
        check_address(url)
        url = url.rstrip("/")
        self.base_url = url[: -len("/api/v1")] if url.endswith("/api/v1") else url
        self.retry = retry or RetryPolicy()
        self.on_answer = on_answer
        # Its own view hides the token.
        self.headers = httpx.Headers(
            {
                "Authorization": f"Bearer {token}",
                "User-Agent": USER_AGENT,
                "Accept": "application/json, application/problem+json",
                # An answer's size is known before it is unpacked.
                "Accept-Encoding": "identity",
            }
        )

    def __repr__(self) -> str:
        return f"Settings({self.base_url})"


def check_address(url: str) -> None:
    """Refuses what is no address of a server. It is in no message: it may hold a password."""
    try:
        read = httpx.URL(url)
    except httpx.InvalidURL:
        raise ValueError("the address of Hookbus is no URL") from None
    if read.scheme not in ("http", "https") or not read.host:
        raise ValueError("the address of Hookbus begins with http:// or https:// and names a host")
    if read.userinfo or read.query or read.fragment:
        raise ValueError("the address of Hookbus has no user, password, query or fragment: the token is the first argument")


def encode(value: Any) -> bytes:
    """JSON as it goes out: numbers of any size, keys in their order."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def url_of(base_url: str, call: Call[Any]) -> str:
    """The address of a call. A segment that a server or proxy would take for a step up is refused."""
    for segment in call.path:
        given: Any = segment
        if not isinstance(given, str):
            raise TypeError(f"{call.operation}: an id is a text, not {type(given).__name__}")
        if segment in ("", ".", ".."):
            raise ValueError(f"{call.operation}: {segment!r} cannot stand in a path")
    pairs = []
    for name, value in call.query.items():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if item is not None:
                pairs.append((name, str(item).lower() if isinstance(item, bool) else str(item)))
    path = "/".join(quote(segment, safe=":") for segment in call.path)
    return f"{base_url}/{path}" + (f"?{urlencode(pairs)}" if pairs else "")


def exchange(settings: Settings, call: Call[Any], url: Optional[str] = None) -> Flow[Answer]:
    """Sends until there is an answer that stays, or the time is over. What an earlier try may have done is an answer too: the 409 of
    an event, the 404 of what was deleted."""
    headers = httpx.Headers(settings.headers)
    for name, value in call.headers.items():
        if value is not None:
            # Told here: httpx takes it for a connection that failed, and shows it.
            if not all(" " <= letter <= "~" for letter in value):
                raise ValueError(f"{call.operation}: {name} has characters that cannot stand in a header")
            headers[name] = value
    content = call.content if call.content is not None else None if call.body is None else encode(call.body)
    if content is not None:
        headers["Content-Type"] = "application/json"
    if call.method == "POST" and not call.operation.startswith("events.ingest"):
        headers.setdefault("Idempotency-Key", str(uuid.uuid4()))
    request_url = url or url_of(settings.base_url, call)
    begun, tries, may_have_arrived = time.monotonic(), 0, False
    while True:
        left = settings.retry.total - (time.monotonic() - begun)
        limit = min(settings.retry.per_try, left) if tries else settings.retry.per_try
        limit = min(max(limit, 0.001), LONGEST_TRY)
        outcome = yield Try(call.method, request_url, headers, content, limit, call.operation.startswith("applicationSecrets."))
        tries += 1
        if isinstance(outcome, Answer):
            outcome = replace(outcome, tries=tries, may_have_arrived=may_have_arrived)
            if settings.on_answer:
                settings.on_answer(call.operation, outcome)
            if 200 <= outcome.status < 300:
                return outcome
            error = problem(call.operation, outcome, tries)
            if may_have_arrived and is_done(call, error):
                return outcome
            if not transient(error):
                raise error
            may_have_arrived = may_have_arrived or outcome.status >= 500
            asked = retry_after(outcome.headers.get("retry-after"), time.time())
        elif isinstance(outcome, (errors.ConnectionFailed, errors.TimedOut)) and not isinstance(outcome, errors.CertificateRefused):
            error, asked, may_have_arrived = outcome, None, True
            error.operation, error.tries = call.operation, tries
        else:
            assert outcome is not None
            outcome.operation, outcome.tries = call.operation, tries
            raise outcome
        wait = pause(settings.retry, tries, time.monotonic() - begun, asked, random.random)
        if wait is None:
            raise error
        yield Pause(wait)


def transient(error: Optional[errors.HookbusError]) -> bool:
    """Whether a problem is worth a repeat."""
    return isinstance(error, errors.ApiError) and (error.status >= 500 or isinstance(error, errors.RateLimited))


def problem(operation: str, answer: Answer, tries: int) -> errors.HookbusError:
    """The error an answer stands for."""
    request_id = answer.headers.get("x-request-id")
    if answer.status == 304:
        return errors.NotModified("not modified", operation=operation, tries=tries, request_id=request_id)
    try:
        read = json.loads(answer.body)
    except (ValueError, RecursionError):
        read = None
    document: Dict[str, Any] = read if isinstance(read, dict) else {}
    if not any(document.get(name) for name in ("id", "detail", "title")):
        redirect = "a redirect, which is not followed: it would be sent the token"
        told = redirect if answer.status < 400 else "the answer is no problem document"
        document = {**document, "detail": f"{told}. Is base_url the address of Hookbus?"}
    kind = errors.BY_ID.get(str(document.get("id")), errors.ApiError)
    wait = retry_after(answer.headers.get("retry-after"), time.time())
    return kind(answer.status, document, retry_after=wait, operation=operation, tries=tries, request_id=request_id)


def decode(call: Call[T], answer: Answer) -> T:
    """The body of a 2xx. Models are dictionaries: what is newer than this package stays in them."""
    if answer.status == 204 or (answer.status == 404 and call.method == "DELETE"):
        return None  # type: ignore[return-value]  # of operations without an answer
    try:
        return json.loads(answer.body)  # type: ignore[no-any-return]
    except (ValueError, RecursionError):
        told = answer.headers.get("x-request-id")
        raise errors.BadAnswer("the answer is no JSON", operation=call.operation, request_id=told) from None


def send(settings: Settings, call: Call[T]) -> Flow[T]:
    """A call and what it answers."""
    call = named(call)
    answer = yield from exchange(settings, call)
    if answer.status == 409:
        return known(call.body)  # type: ignore[no-any-return]
    read = decode(call, answer)
    return brought(call, read) if call.operation == "events.ingestBatch" and answer.may_have_arrived else read


def page(settings: Settings, call: Call[T], url: Optional[str]) -> Flow[Page[T]]:
    """One page of a list, and the address of the next."""
    answer = yield from exchange(settings, call, url)
    items: Any = decode(call, answer)
    if not isinstance(items, list):
        raise errors.BadAnswer("a list was expected", operation=call.operation)
    here = url or url_of(settings.base_url, call)
    return Page(items, next_page(here, answer.headers.get("link")))


class Bound:
    """What sends as a client does: by its settings, driven by it."""

    def __init__(self, settings: Settings, run: Run) -> None:
        self._settings = settings
        self._run = run


class Resource(Bound):
    """Operations that block."""

    def _send(self, call: Call[T]) -> T:
        result: T = self._run(send(self._settings, call))
        return result

    def _pages(self, call: Call[T]) -> Pages[T]:
        return Pages(lambda url: self._run(page(self._settings, call, url)))


class AsyncResource(Bound):
    """Operations that are awaited."""

    async def _send(self, call: Call[T]) -> T:
        result: T = await self._run(send(self._settings, call))
        return result

    def _pages(self, call: Call[T]) -> AsyncPages[T]:
        return AsyncPages(lambda url: self._run(page(self._settings, call, url)))
