"""The two clients. Each runs the same steps over a connection pool of its own; they differ in whether they wait or are awaited."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from contextlib import closing
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Callable, Iterator, Optional, Type, TypeVar, Union

import httpx

from . import errors
from ._core import MAX_ANSWER_BYTES, Answer, Flow, Outcome, Pause, Settings, Step, Try
from ._deadline import bound, deadline
from ._retry import RetryPolicy
from .messages import AsyncMessages, Messages
from .operations import AsyncOperations, Operations

__all__ = ["AsyncHookbus", "Hook0", "Hookbus"]

T = TypeVar("T")

#: How many connections a client keeps, in use and idle.
LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20)


def no_cookies() -> CookieJar:
    """A jar that stays empty: nothing here needs cookies, and a proxy's would pile up."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


class Quiet(httpx.URL):
    """An address that shows no secret: httpx logs the address of each request."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc.decode('ascii')}/..."

    def __repr__(self) -> str:
        return f"Quiet({str(self)!r})"


def request_of(client: Union[httpx.Client, httpx.AsyncClient], step: Try) -> httpx.Request:
    request = client.build_request(step.method, step.url, headers=step.headers, content=step.content, timeout=step.limit)
    if step.secret:
        request.url = Quiet(request.url)
    return request


class Reading:
    """The body of an answer while it comes: no larger than the bound, no longer than its try may take."""

    def __init__(self, limit: float, max_bytes: int) -> None:
        self.until = time.monotonic() + limit
        self._max = max_bytes
        self._body = bytearray()

    def begin(self, response: httpx.Response) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise errors.BadAnswer("the answer has an encoding nobody asked for")

    def take(self, chunk: bytes) -> None:
        self._body += chunk
        if len(self._body) > self._max:
            raise errors.BadAnswer(f"the answer is larger than {self._max} bytes")
        if time.monotonic() > self.until:
            raise errors.TimedOut("no whole answer in time")

    def answer(self, response: httpx.Response) -> Answer:
        return Answer(response.status_code, response.headers, bytes(self._body))


def failure(error: Exception, step: Try) -> errors.HookbusError:
    """What a failed try stands for."""
    if isinstance(error, errors.HookbusError):
        return error
    to = httpx.URL(step.url)
    where = f"{to.scheme}://{to.netloc.decode('ascii')}"
    if isinstance(error, httpx.TimeoutException):
        return errors.TimedOut(f"no answer in time from {where}")
    if isinstance(error, httpx.TransportError):
        refused = any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes(error))
        kind = errors.CertificateRefused if refused else errors.ConnectionFailed
        return kind(f"no answer from {where}: {kind_of(error)}")
    raise error


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came of."""
    cause: Optional[BaseException] = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def kind_of(error: BaseException) -> str:
    """What went wrong with a connection, by its name: the texts of causes may hold what was sent."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return str(cause.reason)
        if isinstance(cause, socket.gaierror):
            return "no such host"
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno in errno.errorcode:
            return errno.errorcode[cause.errno]
    return type(error).__name__


class Shown:
    """A client's view: its address, and no token."""

    _settings: Settings

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.base_url})"


class Hookbus(Shown, Operations):
    """A client of Hookbus that blocks. Threads may share it; close it, or use it as a context manager.

    Arguments:
        token: of an application, of an organization, or the admin key; else `HOOKBUS_TOKEN`.
        base_url: where Hookbus is; else `HOOKBUS_URL`.
        retry: how long calls may take.
        on_answer: is given each operation's id and answer, with its headers (`ETag`, `Hookbus-Consistency-Token`).
        transport: in place of the network: `httpx.MockTransport` in tests, or a proxy.
        max_answer_bytes: larger answers are refused.
    """

    def __init__(
        self,
        token: Optional[str] = None,
        base_url: Optional[str] = None,
        *,
        retry: Optional[RetryPolicy] = None,
        on_answer: Optional[Callable[[str, Answer], None]] = None,
        transport: Optional[httpx.BaseTransport] = None,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._settings = Settings(token, base_url, retry, on_answer)
        self._max_bytes = max_answer_bytes
        self._given = transport
        self._connect()
        self.message = Messages(self._settings, self._run)
        self._open(self._settings, self._run)

    def _connect(self) -> None:
        self._pid = os.getpid()
        self._http = httpx.Client(transport=self._given, limits=LIMITS, cookies=no_cookies())
        bound(self._http)

    def _run(self, flow: Flow[T]) -> T:
        # After a fork both processes would read from one socket, each the other's answers.
        if self._given is None and self._pid != os.getpid():
            self._connect()
        try:
            step: Step = next(flow)
            while True:
                outcome: Outcome = None
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                else:
                    outcome = self._try(step)
                step = flow.send(outcome)
        except StopIteration as ended:
            result: T = ended.value
            return result

    def _try(self, step: Try) -> Outcome:
        reading = Reading(step.limit, self._max_bytes)
        try:
            with deadline(reading.until), closing(self._http.send(request_of(self._http, step), stream=True)) as response:
                reading.begin(response)
                for chunk in response.iter_bytes():
                    reading.take(chunk)
                return reading.answer(response)
        except (errors.HookbusError, httpx.TransportError) as error:
            return failure(error, step)

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def __enter__(self) -> "Hookbus":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


class AsyncHookbus(Shown, AsyncOperations):
    """A client of Hookbus that is awaited, under asyncio and trio. Its arguments are those of `Hookbus`."""

    def __init__(
        self,
        token: Optional[str] = None,
        base_url: Optional[str] = None,
        *,
        retry: Optional[RetryPolicy] = None,
        on_answer: Optional[Callable[[str, Answer], None]] = None,
        transport: Optional[httpx.AsyncBaseTransport] = None,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._settings = Settings(token, base_url, retry, on_answer)
        self._max_bytes = max_answer_bytes
        self._http = httpx.AsyncClient(transport=transport, limits=LIMITS, cookies=no_cookies())
        self.message = AsyncMessages(self._settings, self._run)
        self._open(self._settings, self._run)

    async def _run(self, flow: Flow[T]) -> T:
        import anyio

        try:
            step: Step = next(flow)
            while True:
                outcome: Outcome = None
                if isinstance(step, Pause):
                    await anyio.sleep(step.seconds)
                else:
                    outcome = await self._try(step)
                step = flow.send(outcome)
        except StopIteration as ended:
            result: T = ended.value
            return result

    async def _try(self, step: Try) -> Outcome:
        import anyio

        reading = Reading(step.limit, self._max_bytes)
        try:
            # httpx bounds each read alone; this bounds them together, those of the headers too.
            with anyio.fail_after(step.limit):
                response = await self._http.send(request_of(self._http, step), stream=True)
                try:
                    reading.begin(response)
                    async for chunk in response.aiter_bytes():
                        reading.take(chunk)
                    return reading.answer(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            return errors.TimedOut("no whole answer in time")
        except (errors.HookbusError, httpx.TransportError) as error:
            return failure(error, step)

    async def aclose(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncHookbus":
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.aclose()


Hook0 = Hookbus
