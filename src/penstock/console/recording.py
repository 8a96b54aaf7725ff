"""`POST /records`: training runs and other costs, told over HTTP in the words of `penstock record`. Programs do this, never web pages."""

from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from penstock.console.replies import Reply, Writer
from penstock.finops.recording import Recorded, RecordingError, Told, entry_json, told_of
from penstock.ports.journal import JournalError
from penstock.ports.usage_store import StoreError
from penstock.wire.message import Request

PATH = "/records"
LONGEST = 64_000
"""bytes of a body"""
Record = Callable[[Told], Recorded]


def record_told(request: Request, record: Record, writer: Writer) -> Reply:
    """Records what the body tells and answers with the entry: 201, or 200 when it was there. For whoever may look at the console."""
    foreign = _foreign(request)
    if foreign:
        return writer.problem(403, f"costs are not recorded for web pages: {foreign}", "record them from a program or a shell", html=False)
    kind = (request.header(b"content-type") or b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        return writer.problem(415, "the body must be JSON", "send `content-type: application/json`", html=False)
    if len(request.body) > LONGEST:
        return writer.problem(413, f"the body is larger than {LONGEST:,} bytes", "tell of one run at a time", html=False)
    try:
        done = record(told_of(request.body))
    except RecordingError as problem:
        return writer.problem(409 if problem.conflict else 400, str(problem), problem.hint, html=False)
    except (StoreError, JournalError) as problem:
        return writer.problem(503, str(problem), problem.hint, html=False)
    body = msgspec.json.encode({"recorded": done.new, "entry": entry_json(done.entry), "notes": done.notes})
    return writer.data(201 if done.new else 200, body)


def _foreign(request: Request) -> str | None:
    """What shows that a browser sends this for a page of the web, which must not use its reader's key; None for nothing.

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
