"""API keys and the audit log over HTTP: `/keys.json`, `POST /keys`, `POST /keys/{id}/revoke`, `POST /keys/{id}/rotate`, `/audit.json`."""

import time
from collections.abc import Callable, Sequence
from functools import wraps
from urllib.parse import parse_qs

import msgspec

from penstock.console.posting import Handler, Table
from penstock.console.replies import Reply, Writer
from penstock.finops.audit import entry_json
from penstock.finops.keys import Asked, KeyProblem, Keys, Rotation, body_of, key_json
from penstock.finops.window import WindowError, window
from penstock.ports.audit_log import AuditLog
from penstock.ports.usage_store import StoreError
from penstock.wire.message import Request

_STATUS = {"input": 400, "missing": 404, "conflict": 409}
ENTRIES = 200
MOST_ENTRIES = 10_000
Actor = Callable[[Request], str]
"""who asks, for the audit log"""


def key_posts(keys: Keys, actor: Actor) -> Table:
    """What changes keys."""

    def create(request: Request, writer: Writer, parts: Sequence[str]) -> Reply:
        made = keys.make(body_of(request.body, Asked), actor(request))
        return _shown_once(writer, 201, {"secret": made.secret} | key_json(made.key, made.key.created_ns))

    def revoke(request: Request, writer: Writer, parts: Sequence[str]) -> Reply:
        return _json(writer, 200, key_json(keys.revoke(parts[0], actor(request)), time.time_ns()))

    def rotate(request: Request, writer: Writer, parts: Sequence[str]) -> Reply:
        made, old = keys.rotate(parts[0], body_of(request.body, Rotation), actor(request))
        now_ns = made.key.created_ns
        return _shown_once(writer, 201, {"secret": made.secret} | key_json(made.key, now_ns) | {"replaced": key_json(old, now_ns)})

    return {"/keys": _told(create), "/keys/{id}/revoke": _told(revoke), "/keys/{id}/rotate": _told(rotate)}


def key_reads(keys: Keys, audit: AuditLog, timezone: str, clock_ns: Callable[[], int] = time.time_ns) -> Table:
    """What tells of keys and of changes."""

    def listed(request: Request, writer: Writer, parts: Sequence[str]) -> Reply:
        now_ns = clock_ns()
        return _json(writer, 200, {"keys": [key_json(key, now_ns) for key in keys.listed()]})

    def entries(request: Request, writer: Writer, parts: Sequence[str]) -> Reply:
        """`since` as everywhere, `limit` up to 10,000; newest first."""
        query = parse_qs(request.query)
        given = query.get("limit", [str(ENTRIES)])[-1]
        if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= MOST_ENTRIES:
            return writer.problem(400, f"limit `{given[:20]}` is not a number from 1 to {MOST_ENTRIES:,}", "write limit=200", html=False)
        try:
            span = window(query.get("since", ["30d"])[-1], None, now_ns=clock_ns(), timezone=timezone)
        except WindowError as problem:
            return writer.problem(400, str(problem).replace("--", ""), problem.hint.replace("--", ""), html=False)
        return _json(writer, 200, {"entries": [entry_json(each) for each in audit.since(span.since_ns, int(given))]})

    return {"/keys.json": _told(listed), "/audit.json": _told(entries)}


def _told(handler: Handler) -> Handler:
    """A handler whose problems are told as such."""

    @wraps(handler)
    def answer(request: Request, writer: Writer, parts: Sequence[str]) -> Reply:
        try:
            return handler(request, writer, parts)
        except KeyProblem as problem:
            return writer.problem(_STATUS[problem.kind], str(problem), problem.hint, html=False)
        except StoreError as problem:
            return writer.problem(503, str(problem), problem.hint, html=False)

    return answer


def _json(writer: Writer, status: int, value: object) -> Reply:
    return writer.data(status, msgspec.json.encode(value))


def _shown_once(writer: Writer, status: int, value: object) -> Reply:
    """A secret that nothing on its way may keep."""
    reply = _json(writer, status, value)
    headers = [(name, b"no-store" if name == b"cache-control" else given) for name, given in reply.headers]
    return msgspec.structs.replace(reply, headers=tuple(headers))
