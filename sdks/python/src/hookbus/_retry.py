"""Whether and when a call is sent again: decided from what came back, without a clock or a socket.

Libraries that repeat requests know the status; here the problem's id decides (of all 429 only `RateLimited` is worth a repeat),
and one time bounds all tries together with the pauses between them.
"""

from __future__ import annotations

import email.utils
from dataclasses import dataclass
from typing import Callable, Optional

__all__ = ["RetryPolicy", "pause", "retry_after"]


@dataclass(frozen=True)
class RetryPolicy:
    """How long a call may take, in seconds.

    Attributes:
        total: all tries and pauses together. 0 means a single try.
        per_try: one try, from connecting to the last byte of the answer.
        first, longest: the pause after the first try, and the longest; each is twice the one before, less up to half at random.
    """

    total: float = 30.0
    per_try: float = 10.0
    first: float = 0.2
    longest: float = 5.0


def pause(policy: RetryPolicy, tries: int, elapsed: float, asked: Optional[float], random: Callable[[], float]) -> Optional[float]:
    """Seconds until the next try, or None if its time would be over. `asked` is what `Retry-After` says; never less is waited."""
    grown = min(policy.longest, policy.first * 2.0 ** min(tries - 1, 30))
    wait = max(grown * (1 - random() / 2), asked or 0.0)
    return wait if elapsed + wait < policy.total else None


def retry_after(value: Optional[str], now: float) -> Optional[float]:
    """Seconds that a `Retry-After` asks for, given as seconds or as a date; None for what is neither. `now` is unix time."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
