"""What the headers of a request say, read once: whose key, which tags, what to do about the cache, and what an upstream may see."""

import re
from typing import Final

import msgspec

from penstock.domain.dialects.content import normal_tag
from penstock.domain.ledger.trace_parent import kept_traceparent
from penstock.wire.message import HOP_BY_HOP, Headers

SECRET_PREFIX = b"psk_"
"""how keys of our own making begin"""
TAG = b"penstock-tag-"
_OURS = b"penstock-"
_PAYERS = frozenset({b"openai-organization", b"openai-project"})
"""headers that say for whom the upstream works: rights, kept data and models differ between them"""
_NOT_FORWARDED = HOP_BY_HOP | {b"host", b"content-length", b"api-key", b"cookie", b"accept-encoding", b"expect"}

_SHARE: Final = re.compile(rb"[0-9]*\.?[0-9]+([eE]-?[0-9]{1,3})?")


class Heads(msgspec.Struct, gc=False):
    """`forwarded` holds no credentials, no hop-by-hop header and none of Penstock's own."""

    forwarded: Headers
    secret: bytes | None = None
    tags: dict[str, str] | None = None
    cache: bytes = b""
    max_error: bytes = b""
    """the most wrong answers, as a share, that the caller accepts of the semantic cache"""
    upstream: str = ""
    preset: str = ""
    """of the route: how careful it should be"""
    error_budget: bytes = b""
    """the loss of quality that the caller accepts"""
    max_latency: bytes = b""
    """how long an answer may take"""
    session: bytes = b""
    """the conversation that it belongs to"""
    variants: tuple[str, ...] = ()
    """headers that ask for another behaviour, of the upstream or of the route, or on behalf of another one: part of the cache key"""
    traceparent: str | None = None


def read_heads(headers: Headers) -> Heads:
    """One pass over the headers, names in lower case."""
    heads = Heads([])
    for name, value in headers:
        if name in _NOT_FORWARDED:
            continue
        if name.startswith(_OURS):
            _ours(heads, name, value)
        elif name == b"authorization":
            scheme, _, token = value.partition(b" ")
            if scheme.lower() == b"bearer":
                _secret(heads, token.strip())
        elif name == b"x-api-key":
            _secret(heads, value.strip())
        else:
            heads.forwarded.append((name, value))
            if name.endswith(b"-beta") or name == b"anthropic-version" or name in _PAYERS:
                heads.variants += (name.decode("latin-1"), value.decode("latin-1"))
            elif name == b"traceparent":
                heads.traceparent = kept_traceparent(value)
    return heads


def share_of(text: bytes) -> float | None:
    """A number from 0 to 1 as a header says it; None for anything else."""
    share = float(text) if _SHARE.fullmatch(text) else -1.0
    return share if 0 <= share <= 1 else None


def _secret(heads: Heads, secret: bytes) -> None:
    """Keeps a key of ours before any other: SDKs always send one of some system's."""
    if secret and (heads.secret is None or (secret.startswith(SECRET_PREFIX) and not heads.secret.startswith(SECRET_PREFIX))):
        heads.secret = secret


def _ours(heads: Heads, name: bytes, value: bytes) -> None:
    if name.startswith(TAG):
        if heads.tags is None:
            heads.tags = {}
        heads.tags[normal_tag(name[len(TAG) :].decode("latin-1"))] = value.decode("utf-8", "replace")
    elif name == b"penstock-cache":
        heads.cache = value.strip().lower()
    elif name == b"penstock-cache-max-error":
        heads.max_error = value.strip()
    elif name == b"penstock-upstream":
        heads.upstream = value.decode("latin-1")
    elif name == b"penstock-preset":
        heads.preset = value.strip().decode("latin-1")
        heads.variants += ("penstock-preset", heads.preset)
    elif name == b"penstock-error-budget":
        heads.error_budget = value.strip()
        heads.variants += ("penstock-error-budget", heads.error_budget.decode("latin-1"))
    elif name == b"penstock-max-latency":
        heads.max_latency = value.strip()
    elif name == b"penstock-session":
        heads.session = value.strip()
