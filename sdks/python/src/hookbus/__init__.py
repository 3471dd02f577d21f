"""Hookbus from Python: send events, manage subscriptions, verify what was delivered."""

from . import errors
from ._core import Answer
from ._retry import RetryPolicy
from ._version import __version__
from .client import AsyncHookbus, Hook0, Hookbus
from .messages import MessageIn, MessageOut, MessageResult, RawJson
from .pages import AsyncPages, Page, Pages
from .receiving import Counters, MemorySeen, Receiver, Seen, StillProcessing, TableSeen
from .webhooks import Webhook, WebhookError, WebhookEvent

__all__ = [
    "Answer",
    "AsyncHookbus",
    "AsyncPages",
    "Counters",
    "Hook0",
    "Hookbus",
    "MemorySeen",
    "MessageIn",
    "MessageOut",
    "MessageResult",
    "Page",
    "Pages",
    "RawJson",
    "Receiver",
    "RetryPolicy",
    "Seen",
    "StillProcessing",
    "TableSeen",
    "Webhook",
    "WebhookError",
    "WebhookEvent",
    "__version__",
    "errors",
]
