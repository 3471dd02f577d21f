"""What goes wrong, whatever its problem id: the bases of the classes in `errors.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Type, Union

if TYPE_CHECKING:
    from ._codes import Code

__all__ = [
    "ApiError",
    "BadAnswer",
    "CertificateRefused",
    "ConnectionFailed",
    "HookbusError",
    "InvalidMessage",
    "JobNotDone",
    "NotModified",
    "TimedOut",
]

#: How much of what a server says stands in an error's message; its fields have all of it.
MOST_TEXT = 1000


class HookbusError(Exception):
    """Anything this package raises about a call.

    Attributes:
        operation: the operation's id, such as `subscriptions.get`.
        tries: how often it was sent.
        request_id: what the last answer said in `X-Request-Id`, for the server's logs.
        event_id: of an event that `create` could not send: it may have arrived, and is to be sent again under this id.
    """

    event_id: Optional[str] = None

    def __init__(self, message: str, *, operation: str = "", tries: int = 1, request_id: Optional[str] = None) -> None:
        super().__init__(message)
        self.operation = operation
        self.tries = tries
        self.request_id = request_id

    def __str__(self) -> str:
        told = [f"request {self.request_id}"] if self.request_id else []
        told += [f"{self.tries} tries"] if self.tries > 1 else []
        where = f"{self.operation}: " if self.operation else ""
        return f"{where}{self.args[0]}{' (' + ', '.join(told) + ')' if told else ''}"

    def __reduce__(self) -> Any:
        return (_again, (type(self), dict(self.__dict__), self.args))


class ConnectionFailed(HookbusError):
    """No answer came: refused, reset, or not found. What was sent may have arrived."""


class CertificateRefused(ConnectionFailed):
    """The server's certificate cannot be verified. Nothing was sent, and nothing is tried again: it would not become valid by that."""


class TimedOut(HookbusError):
    """No whole answer came in time. What was sent may have arrived."""


class BadAnswer(HookbusError):
    """An answer that is too large, no JSON, or from somewhere else than Hookbus."""


class InvalidMessage(HookbusError):
    """An event of `create_many` that cannot be written as JSON: it was not sent."""


class JobNotDone(HookbusError):
    """A job that has ended without being done: it failed, or was cancelled.

    Attributes:
        job: as it was last seen, with what it did until then in `counts`.
    """

    def __init__(self, job: Mapping[str, Any], **where: Any) -> None:
        detail = job.get("detail")
        super().__init__(f"job {job.get('job_id')} is {job.get('state')}{f': {detail}' if detail else ''}", **where)
        self.job = job


class NotModified(HookbusError):
    """304: what `if_none_match` names is still current."""


class ApiError(HookbusError):
    """A problem document (RFC 9457). `errors.py` has a class for each id; an id that is newer than this package is this class.

    Attributes:
        status: the HTTP status.
        id: the problem's id, such as `NotFound`.
        code: what exactly, for programs: one of `errors.Code`, or a newer one; None if the server did not say.
        title, detail: for people.
        validation: messages per field, or None.
        retry_after: seconds the server asked to wait, or None.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], *, retry_after: Optional[float] = None, **where: Any) -> None:
        def text(name: str) -> str:
            return str(problem.get(name) or "")

        named = f"{status} {text('id')}".strip()
        super().__init__(f"{named}: {(text('detail') or text('title'))[:MOST_TEXT]}", **where)
        self.status = status
        self.id = text("id")
        self.code: Union[Code, str, None] = text("code") or None
        self.title = text("title")
        self.detail = text("detail")
        self.validation: Optional[Dict[str, Any]] = problem.get("validation")
        self.retry_after = retry_after

    def has_code(self, code: Code) -> bool:
        """Whether it is this code: `error.has_code("idempotency_key_reused")`, whose spelling type checkers know."""
        return self.code == code


def _again(kind: Type[HookbusError], values: Dict[str, Any], args: Any) -> HookbusError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(values)
    return error
