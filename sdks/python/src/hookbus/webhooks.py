"""Verifying what Hookbus delivered: one call, all its signatures, over the raw bytes of the body. Needs nothing beside Python.

| header | form | key | its time is signed |
|---|---|---|---|
| `webhook-signature` | `v1,<base64>` (Standard Webhooks, HMAC-SHA256) | secret | yes |
| `webhook-signature` | `v1a,<base64>` (Standard Webhooks, ed25519) | `whpk_...` | yes |
| `X-Hook0-Signature` | `t=,h=,v1=` | secret | yes |
| `X-Hook0-Signature` | `sha256=<hex>` | secret | no: a copy verifies for ever |
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Protocol, Sequence, Tuple, Union

__all__ = ["Webhook", "WebhookError", "WebhookEvent"]

Text = Union[str, bytes]
Headers = Union[Mapping[str, str], Mapping[bytes, bytes], Iterable[Tuple[Text, Text]], "Items"]


class Items(Protocol):
    """The headers of web frameworks, which are mappings but for the name."""

    def items(self) -> Iterable[Tuple[str, str]]: ...


#: More entries than this in one `webhook-signature` are not looked at: each one costs a check.
MAX_ENTRIES = 32


class WebhookError(Exception):
    """A request that is not what Hookbus sent, or not what the secrets verify.

    Attributes:
        reason: `missing`, `malformed`, `too_old`, `too_new` or `no_match`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class WebhookEvent:
    """A delivery whose signature holds.

    Attributes:
        id: what to tell duplicates by: the signed one of `webhook-id` and `X-Event-Id`; None with `sha256=`, which signs none.
        signed_by: `standard`, `ed25519`, `hook0` or `hook0_body`.
        timestamp: unix seconds of this attempt; None with `sha256=`.
        event_type, delivery_id, attempt, replay: what the headers say. They are signed only where `signed_by` is `hook0`
            and names them.
        content_type: of the body.
        body: the bytes that were verified.
    """

    id: Optional[str]
    signed_by: str
    timestamp: Optional[int]
    event_type: Optional[str]
    delivery_id: Optional[str]
    attempt: Optional[int]
    replay: Optional[str]
    content_type: Optional[str]
    body: bytes = field(repr=False)

    @property
    def data(self) -> Any:
        """The body as JSON; numbers of any size, keys in their order. Raises ValueError for a body that is no JSON."""
        return json.loads(self.body)


class _Key:
    """What one secret verifies with. Never shown."""

    def __init__(self, secret: Any) -> None:
        text = secret.strip() if isinstance(secret, str) else ""
        if not text:
            raise ValueError("a secret is a text such as whsec_..., and not empty")
        if "whsec_" in text.lower() and not text.startswith("whsec_"):
            raise ValueError("a secret of this form begins with whsec_, in lower case and with nothing before it")
        if text.startswith("whsk_"):
            raise ValueError("this is a private key (whsk_...); a receiver verifies with the public one (whpk_...)")
        self.standard: Optional[bytes] = None
        self.hook0: List[bytes] = []
        self.accepts: Optional[Callable[[bytes, bytes], bool]] = None
        if text.startswith("whpk_"):
            self.accepts = _ed25519(_decoded(text[5:], "whpk_", 32, 32))
        elif text.startswith("whsec_"):
            self.standard = _decoded(text[6:], "whsec_", 24, 64)
            # The key of X-Hook0-Signature is the secret's text; `signing_secret` of a generated one encodes that text.
            self.hook0 = [text.encode(), self.standard]
        else:
            self.standard = text.encode()
            self.hook0 = [self.standard]


def _decoded(text: str, prefix: str, least: int, most: int) -> bytes:
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"what follows {prefix} is no base64") from None
    if not least <= len(key) <= most:
        raise ValueError(f"{prefix} holds {least} to {most} bytes, not {len(key)}")
    return key


def _ed25519(key: bytes) -> Callable[[bytes, bytes], bool]:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise RuntimeError("a whpk_ key needs the package cryptography: pip install 'hookbus[ed25519]'") from None
    public = Ed25519PublicKey.from_public_bytes(key)

    def accepts(signature: bytes, message: bytes) -> bool:
        try:
            public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return accepts


class _Headers:
    """Headers by lower-case name, as bytes and as text."""

    def __init__(self, headers: Headers) -> None:
        given: Any = headers
        if given is None:
            raise TypeError("the headers of the request are needed")
        pairs = given.items() if hasattr(given, "items") else given
        self._values: Dict[str, List[str]] = {}
        for name, value in pairs:
            self._values.setdefault(_text(name).lower(), []).append(_text(value))

    def get(self, name: str) -> Optional[str]:
        values = self._values.get(name)
        if values and len(values) > 1:
            raise WebhookError("malformed", f"the header {name} stands there {len(values)} times")
        return values[0] if values else None

    def need(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise WebhookError("missing", f"the header {name} is missing")
        return value


def _text(value: Text) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _bytes(text: str) -> bytes:
    """A header's bytes: servers hand them over as latin-1."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


class Webhook:
    """Verifies deliveries.

    Arguments:
        secret: `signing_secret` or `secret` of the subscription, a `whpk_` key, or several of them during a rotation.
        tolerance: seconds that a signed time may lie from now, either way.
        require_timestamp: refuses `sha256=`, which signs no time, so that a copy of a delivery verifies for ever.
    """

    def __init__(self, secret: Union[str, Iterable[str]], *, tolerance: float = 300, require_timestamp: bool = False) -> None:
        given: Any = secret
        secrets = [secret] if isinstance(secret, str) or given is None else list(secret)
        if not secrets:
            raise ValueError("at least one secret is needed")
        self._keys = [_Key(text) for text in secrets]
        allowed: Any = tolerance
        # With what is no number every comparison is false, and every time in order.
        if isinstance(allowed, bool) or not isinstance(allowed, (int, float)) or not math.isfinite(allowed) or allowed < 0:
            raise ValueError("the tolerance is a number of seconds, 0 or more")
        self._tolerance = tolerance
        self._require_timestamp = require_timestamp

    def __repr__(self) -> str:
        return f"Webhook({len(self._keys)} secrets, tolerance {self._tolerance:g} s)"

    def verify(self, body: bytes, headers: Headers, *, now: Optional[float] = None) -> WebhookEvent:
        """The delivery, if a signature holds.

        Arguments:
            body: the raw bytes, before any parser or decoder touched them.
            headers: of the request, in any case: a mapping, or pairs.
            now: unix seconds; the clock's, if left out.

        Raises:
            WebhookError: it does not verify, and why.
            TypeError: the body is text or parsed.
        """
        given: Any = body
        if not isinstance(given, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"the body must be the raw bytes as they arrived, not {type(given).__name__}: what was decoded or parsed has other bytes"
            )
        raw, found = bytes(body), _Headers(headers)
        now = time.time() if now is None else now
        if not math.isfinite(now):
            raise ValueError("now is a number of unix seconds")
        standard, hook0 = found.get("webhook-signature"), found.get("x-hook0-signature")
        if standard is None and hook0 is None:
            raise WebhookError("missing", "neither webhook-signature nor X-Hook0-Signature is there")
        if standard is not None:
            identity = found.need("webhook-id")
            timestamp = self._time(found.need("webhook-timestamp"), now)
            signed = b".".join([_bytes(identity), str(found.need("webhook-timestamp")).encode(), raw])
            by = self._standard(standard, signed)
            if by:
                return _event(found, raw, by, identity, timestamp)
        if hook0 is not None and not hook0.startswith("sha256="):
            names, timestamp = self._hook0(hook0, found, raw, now)
            if names is not None:
                return _event(found, raw, "hook0", found.get("x-event-id") if "x-event-id" in names else None, timestamp)
        elif hook0 is not None and not self._require_timestamp and self._matches(raw, _unhex(hook0[len("sha256=") :])):
            return _event(found, raw, "hook0_body", None, None)
        raise WebhookError("no_match", "no signature matches one of the secrets")

    def _time(self, text: str, now: float) -> int:
        # Digits only: `+5` or ` 5` would sign another message than the one a strict reader sees.
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise WebhookError("malformed", "the timestamp is not unix seconds in digits")
        age = int(now) - int(text)
        if age > self._tolerance:
            raise WebhookError("too_old", f"signed {age} s ago, {self._tolerance:g} s are allowed")
        if -age > self._tolerance:
            raise WebhookError("too_new", f"signed {-age} s ahead, {self._tolerance:g} s are allowed")
        return int(text)

    def _standard(self, entries: str, signed: bytes) -> Optional[str]:
        for entry in entries.split(" ")[:MAX_ENTRIES]:
            version, _, encoded = entry.partition(",")
            try:
                signature = base64.b64decode(encoded.encode(), validate=True)
            except (binascii.Error, ValueError):
                continue
            for key in self._keys:
                if version == "v1" and key.standard and _same(key.standard, signed, signature):
                    return "standard"
                if version == "v1a" and key.accepts and key.accepts(signature, signed):
                    return "ed25519"
        return None

    def _hook0(self, value: str, found: _Headers, raw: bytes, now: float) -> Tuple[Optional[Sequence[str]], int]:
        parts: Dict[str, str] = {}
        for part in value.split(","):
            name, equals, text = part.partition("=")
            name = name.strip()
            if not equals:
                raise WebhookError("malformed", "X-Hook0-Signature: a part has no `=`")
            if name in parts and name in ("t", "h", "v0", "v1"):
                raise WebhookError("malformed", f"X-Hook0-Signature: {name} stands there twice")
            parts[name] = text
        for name in ("t", "h", "v1"):
            if name not in parts:
                raise WebhookError("malformed", f"X-Hook0-Signature: {name} is missing")
        timestamp = self._time(parts["t"], now)
        names = [name for name in parts["h"].split(" ") if name]
        values = [_bytes(found.need(name)) for name in names]
        message = b".".join([parts["t"].encode(), _bytes(" ".join(names)), b".".join(values), raw])
        return (names, timestamp) if self._matches(message, _unhex(parts["v1"])) else (None, timestamp)

    def _matches(self, message: bytes, signature: bytes) -> bool:
        return any(_same(key, message, signature) for keys in self._keys for key in keys.hook0)


def _same(key: bytes, message: bytes, signature: bytes) -> bool:
    """In constant time."""
    return hmac.compare_digest(hmac.new(key, message, hashlib.sha256).digest(), signature)


def _unhex(digits: str) -> bytes:
    try:
        return binascii.unhexlify(digits.encode())
    except (binascii.Error, ValueError):
        raise WebhookError("malformed", "X-Hook0-Signature: the signature is not hex") from None


def _event(found: _Headers, raw: bytes, by: str, identity: Optional[str], timestamp: Optional[int]) -> WebhookEvent:
    attempt = found.get("x-hookbus-attempt") or ""
    return WebhookEvent(
        id=identity,
        signed_by=by,
        timestamp=timestamp,
        event_type=found.get("x-event-type"),
        delivery_id=found.get("x-hookbus-delivery-id"),
        attempt=int(attempt) if attempt.isascii() and attempt.isdigit() and len(attempt) < 10 else None,
        replay=found.get("x-hookbus-replay"),
        content_type=found.get("content-type"),
        body=raw,
    )
