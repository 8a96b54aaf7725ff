"""Answers on their way out: forms, headers, compression, and the pages that say what went wrong."""

import gzip
from functools import cached_property
from typing import Any, Literal

import msgspec

from penstock.config.settings import Settings
from penstock.console import pages
from penstock.console.access import CHALLENGE, Denied
from penstock.console.assets import Asset, Assets
from penstock.console.context import View
from penstock.console.query import Address
from penstock.console.rendering import environment
from penstock.finops.sheet import csv_text

Form = Literal["html", "json", "csv"]
CONTENT_SECURITY_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
GUARDS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"vary", b"accept, accept-encoding"),
]
TYPES: dict[Form, bytes] = {"html": b"text/html; charset=utf-8", "json": b"application/json", "csv": b"text/csv; charset=utf-8"}
WORTH_GZIP = 500
FOR_EVER = b"public, max-age=31536000, immutable"
FOR_NOW = b"private, no-cache"


class Reply(msgspec.Struct, frozen=True, dict=True):
    """One answer, before it is known what the client can unpack."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    packed: bytes | None = None

    @cached_property
    def _gzipped(self) -> bytes:
        return self.packed if self.packed is not None else gzip.compress(self.body, 6, mtime=0)

    def encoded(self, accepts: bytes | None) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers and body for a client that sends this `accept-encoding`."""
        headers = [*self.headers, *GUARDS]
        if len(self.body) >= WORTH_GZIP and _accepts_gzip(accepts):
            return self.status, [*headers, (b"content-encoding", b"gzip")], self._gzipped
        return self.status, headers, self.body


class Writer:
    """Turns views and problems into replies."""

    def __init__(self, assets: Assets, settings: Settings) -> None:
        self._templates = environment(assets.address)
        self._settings = settings

    def page(self, page: "pages.Page", form: Form, address: Address, view: View) -> Reply:
        """A page in one of its forms."""
        if form == "json":
            found = {"page": page.name, "question": page.title, "query": address.json()}
            return _reply(200, "json", msgspec.json.encode(found | msgspec.structs.asdict(view)))
        if form == "csv":
            assert page.sheet is not None
            sheet = page.sheet(view, address)
            name = f'attachment; filename="penstock{page.stem.replace("/", "-")}.csv"'.encode()
            return _reply(200, "csv", csv_text(sheet.header, sheet.rows).encode(), (b"content-disposition", name))
        return self._html(200, page.template, page=page, view=view, address=address, problem=None)

    def data(self, status: int, body: bytes) -> Reply:
        """JSON that is no page's twin."""
        return _reply(status, "json", body)

    def asset(self, asset: Asset) -> Reply:
        """A static file, which never changes under its address."""
        return Reply(200, ((b"content-type", asset.content_type), (b"cache-control", FOR_EVER)), asset.body, asset.gzipped)

    def redirect(self, path: str, query: str) -> Reply:
        """The way to the address that was meant."""
        target = f"{path}?{query}" if query else path
        return _reply(308, "html", b"", (b"location", target.encode("latin-1", "replace").replace(b"\r", b"").replace(b"\n", b"")))

    def back(self, target: str) -> Reply:
        """The page that a form was sent from, which shows what became of it."""
        return _reply(303, "html", b"", (b"location", target.encode()))

    def missing(self, path: str, *, html: bool) -> Reply:
        """404: there is no such page."""
        hint = "There are /, /budgets, /costs, /requests, /savings, /routing, /fleet and /simulation, and each as data with .json."
        return self.problem(404, f"There is no page {path[:200]}", hint, html=html)

    def away(self, message: str, hint: str, *, html: bool, page: "pages.Page", link: str) -> Reply:
        """503: the ledger cannot be read; says what still works."""
        if not html:
            return _json_problem(503, message, hint)
        return self._html(503, "away.html", page=page, view=None, address=None, problem={"message": message, "hint": hint, "link": link})

    def failed(self, *, html: bool) -> Reply:
        """500: the fault is ours, and the log says which."""
        return self.problem(500, "The console failed at this page", "Model calls go on. The log says what failed; try again", html=html)

    def denied(self, denied: Denied, *, html: bool) -> Reply:
        """401 or 403: who may look is told, and nothing of the ledger."""
        reply = self.problem(denied.status, denied.message, denied.hint, html=html)
        return msgspec.structs.replace(reply, headers=(*reply.headers, CHALLENGE)) if denied.status == 401 else reply

    def fragment(self, template: str, **given: Any) -> str:
        """A part of a page, for what is sent while the page is open."""
        return self._templates.get_template(template).render(**given)

    def problem(
        self, status: int, message: str, hint: str, *, html: bool, page: "pages.Page | None" = None, back: str | None = None
    ) -> Reply:
        """What is wrong with a request, and what to do; `back` is the page without its query."""
        if not html:
            return _json_problem(status, message, hint)
        problem = {"status": status, "message": message, "hint": hint, "back": back}
        return self._html(status, "problem.html", page=page, view=None, address=None, problem=problem)

    def _html(self, status: int, template: str, **given: Any) -> Reply:
        text = self._templates.get_template(template).render(pages=pages.PAGES, settings=self._settings, **given)
        return _reply(status, "html", text.encode())


def _reply(status: int, form: Form, body: bytes, *more: tuple[bytes, bytes]) -> Reply:
    return Reply(status, ((b"content-type", TYPES[form]), (b"cache-control", FOR_NOW), *more), body)


def _json_problem(status: int, message: str, hint: str) -> Reply:
    error = {
        "message": message,
        "type": "invalid_request_error" if status < 500 else "server_error",
        "param": None,
        "code": None,
        "hint": hint,
    }
    return _reply(status, "json", msgspec.json.encode({"error": error}))


def accepts_html(accept: bytes | None) -> bool:
    """Whether a client asks for pages, as browsers do; others are told of errors in JSON."""
    return accept is not None and b"text/html" in accept


def _accepts_gzip(accepts: bytes | None) -> bool:
    for part in (accepts or b"").lower().split(b","):
        name, _, quality = part.partition(b";")
        if name.strip() in (b"gzip", b"*"):
            return quality.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False
