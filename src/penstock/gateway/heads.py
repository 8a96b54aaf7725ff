"""What the headers of a request say, read once: whose key, which tags, what to do about the cache, and what an upstream may see."""

import msgspec

from penstock.domain.dialects.content import normal_tag
from penstock.wire.message import HOP_BY_HOP, Headers

TAG = b"penstock-tag-"
_OURS = b"penstock-"
_NOT_FORWARDED = HOP_BY_HOP | {b"host", b"content-length", b"api-key", b"cookie", b"accept-encoding", b"expect"}


class Heads(msgspec.Struct, gc=False):
    """`forwarded` holds no credentials, no hop-by-hop header and none of Penstock's own."""

    forwarded: Headers
    secret: bytes | None = None
    tags: dict[str, str] | None = None
    cache: bytes = b""
    upstream: str = ""


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
            if scheme.lower() == b"bearer" and heads.secret is None:
                heads.secret = token.strip() or None
        elif name == b"x-api-key":
            heads.secret = heads.secret or value.strip() or None
        else:
            heads.forwarded.append((name, value))
    return heads


def _ours(heads: Heads, name: bytes, value: bytes) -> None:
    if name.startswith(TAG):
        if heads.tags is None:
            heads.tags = {}
        heads.tags[normal_tag(name[len(TAG) :].decode("latin-1"))] = value.decode("utf-8", "replace")
    elif name == b"penstock-cache":
        heads.cache = value.strip().lower()
    elif name == b"penstock-upstream":
        heads.upstream = value.decode("latin-1")
