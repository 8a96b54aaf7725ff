"""Addresses of the console beside its pages: what programs and its own pages send, and data that no page shows.

A handler runs in a thread, for somebody whom `Access` lets in. What a browser sends for a page of the web never reaches one: such a
page must not use its reader's key, nor that its reader sits at this machine.
"""

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from penstock.console.replies import Reply, Writer
from penstock.wire.message import Request

FORM = "application/x-www-form-urlencoded"
LONGEST = 64_000
"""bytes of a body"""
Handler = Callable[[Request, Writer, Sequence[str]], Reply]
"""request, what writes replies, the parts of the path that `{...}` stands for -> the reply"""
Table = Mapping[str, Handler]
"""addresses such as `/keys/{id}/revoke`"""


def find(table: Table, path: str) -> tuple[Handler, tuple[str, ...]] | None:
    """The handler of a path and what its `{...}` stand for; None where there is none."""
    if (handler := table.get(path)) is not None:
        return handler, ()
    parts = path.split("/")
    for pattern, handler in table.items():
        wanted = pattern.split("/")
        if len(wanted) == len(parts) and all(map(_fits, parts, wanted)):
            return handler, tuple(given for given, part in zip(parts, wanted, strict=True) if part[:1] == "{")
    return None


def _fits(given: str, part: str) -> bool:
    return given == part or (part[:1] == "{" and given != "")


def refused(request: Request, writer: Writer) -> Reply | None:
    """Why a POST is not taken, whatever its address; None for one that is."""
    if (why := foreign(request)) is not None:
        return writer.problem(403, f"nothing is changed for web pages: {why}", "do it from a program or a shell", html=False)
    kind = kind_of(request)
    if kind != "application/json" and (kind or request.body) and not (kind == FORM and is_own(request)):
        return writer.problem(415, "the body must be JSON", "send `content-type: application/json`", html=False)
    if len(request.body) > LONGEST:
        return writer.problem(413, f"the body is larger than {LONGEST:,} bytes", "send less at a time", html=False)
    return None


def kind_of(request: Request) -> str:
    """The content type of its body, without parameters."""
    return (request.header(b"content-type") or b"").partition(b";")[0].strip().lower().decode("latin-1")


def is_own(request: Request) -> bool:
    """Whether a browser tells that one of our own pages sends this."""
    told = request.header(b"origin") is not None or request.header(b"sec-fetch-site") == b"same-origin"
    return told and foreign(request) is None


def foreign(request: Request) -> str | None:
    """What shows that a browser sends this for a page of the web; None for nothing.

    Browsers always tell the origin of a POST. Other programs do not.
    """
    site = (request.header(b"sec-fetch-site") or b"").decode("latin-1")
    if site not in ("", "same-origin", "none"):
        return f"this one comes from a {site} page"
    origin = request.header(b"origin")
    if origin is None:
        return None
    try:
        theirs = urlsplit(origin.decode("latin-1")).netloc.lower()
    except ValueError:
        theirs = ""
    ours = (request.header(b"host") or b"").decode("latin-1").lower()
    return None if theirs and theirs == ours else f"this one comes from {origin.decode('latin-1')[:100]}"
