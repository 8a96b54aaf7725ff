"""The console: addresses to pages, in three forms (HTML, JSON, CSV), with the same figures for everybody who looks at once."""

import asyncio
import time
import traceback
from collections.abc import Callable
from functools import cache, partial
from types import MappingProxyType

from penstock.config.settings import Settings
from penstock.console.access import Access, Denied
from penstock.console.assets import Assets
from penstock.console.context import Context, NotHere, Papers
from penstock.console.pages import DETAILS, PAGES, STREAMS, Page, Stream
from penstock.console.posting import Table, find, refused
from penstock.console.query import Address, read_address
from penstock.console.replies import Form, Reply, Writer, accepts_html
from penstock.console.sharing import Shared
from penstock.console.streams import Busy, Last, Reading, Sources
from penstock.domain.prices.book import PriceBook
from penstock.domain.prices.hardware import Steps
from penstock.finops.budgets.history import Histories
from penstock.finops.costs import QueryError
from penstock.finops.live import Tail
from penstock.finops.metrics import Gauges
from penstock.finops.window import WindowError
from penstock.ports.journal import JournalError
from penstock.ports.usage_store import StoreError
from penstock.wire.message import ClientGone, Request
from penstock.wire.responder import Responder

FRESH_S = 1.5
"""how long figures are good enough for the next who asks: ten open pages cost as much as one"""
EXPORTS_AT_ONCE = 2
AT_ONCE = 2
"""pages built at the same time; further ones wait, and the intake of the ledger goes on"""


class Console:
    """Answers every address of the console. Pages are built in threads, so that the controller's own work goes on."""

    def __init__(
        self,
        settings: Settings,
        reading: Reading,
        prices: Callable[[], PriceBook],
        *,
        runs: Callable[[str], Steps | None],
        price_source: str,
        gauges: Callable[[], Gauges],
        tail: Tail,
        access: Access,
        papers: Papers,
        log: Callable[[str], None],
        posts: Table = MappingProxyType({}),
        reads: Table = MappingProxyType({}),
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`reading` opens a consistent view of store and journal; `prices` is asked once, when a page first needs it; `runs` tells
        when fleets ran; `log` hears of pages that fail; `posts` answer what is posted to their addresses, `reads` what is read at theirs.
        """
        self._settings, self._reading, self._prices, self._tail = settings, reading, cache(prices), tail
        self._price_source, self._gauges, self._clock_ns, self._runs = price_source, gauges, clock_ns, runs
        self._access, self._papers, self._log, self._posts, self._reads = access, papers, log, posts, reads
        self._histories = Histories()
        self._exports, self._last = asyncio.Semaphore(EXPORTS_AT_ONCE), Last()
        self._assets = Assets()
        self._writer = Writer(self._assets, settings)
        self._shared: Shared[Reply] = Shared(FRESH_S, AT_ONCE)

    async def answer(self, request: Request, responder: Responder) -> None:
        """Answers one request, whatever its address; what fails beyond all that is foreseen is logged and told as such."""
        try:
            reply = await self._answer(request, responder)
        except ClientGone:
            raise
        except Exception as error:
            trace = "".join(traceback.format_exception(error)).rstrip()
            self._log(f"error: the console failed at {request.method} {request.path[:200]!r}\n{trace}")
            if responder.started:
                responder.abort()
                return
            reply = self._writer.failed(html=accepts_html(request.header(b"accept")))
        if reply is not None:
            status, headers, body = reply.encoded(request.header(b"accept-encoding"))
            responder.send(status, headers, body)

    async def _answer(self, request: Request, responder: Responder) -> Reply | None:
        """The reply; None where a stream has answered by itself."""
        denied = self._access.denied(request)
        if request.method == "GET" and denied is None and (stream := STREAMS.get(request.path)) is not None:
            return await self._streamed(stream, request, responder)
        table = self._posts if request.method == "POST" else self._reads if request.method in ("GET", "HEAD") else {}
        if (found := find(table, request.path)) is None:
            return await self._reply(request, denied)
        if denied is not None:
            return self._writer.denied(denied, html=accepts_html(request.header(b"accept")))
        handler, parts = found
        wrong = refused(request, self._writer) if request.method == "POST" else None
        reply = wrong or await asyncio.to_thread(handler, request, self._writer, parts)
        if request.method == "POST":
            self._shared.forget()
        return reply

    async def _streamed(self, stream: Stream, request: Request, responder: Responder) -> Reply | None:
        """Lets a stream answer by itself; what kept it from beginning is told as for a page."""
        sources = Sources(self._settings, self._reading, self._writer, self._tail, self._clock_ns, self._exports, self._last)
        try:
            await stream(sources, request, responder)
        except (WindowError, QueryError) as problem:
            return self._writer.problem(400, _web_words(str(problem)), _web_words(problem.hint), html=False)
        except Busy as problem:
            return self._writer.problem(429, str(problem), "try again when one of them is through", html=False)
        except (StoreError, JournalError) as problem:
            if responder.started:
                responder.abort()  # an export that broke off must not look whole
                return None
            return self._writer.problem(503, str(problem), problem.hint, html=False)
        return None

    async def _reply(self, request: Request, denied: Denied | None) -> Reply:
        html = accepts_html(request.header(b"accept"))
        if request.method not in ("GET", "HEAD"):
            return self._writer.problem(405, f"{request.path[:200]} can only be read", "use GET", html=html)
        if (asset := self._assets.find(request.path)) is not None:
            return self._writer.asset(asset)
        if denied is not None:
            return self._writer.denied(denied, html=html)
        found = _find(request.path)
        if isinstance(found, str):
            return self._writer.redirect(found, request.query)
        if found is None:
            return self._writer.missing(request.path, html=html)
        page, form = found
        own, now_ns = request.path if form == "html" else request.path.removesuffix(f".{form}"), self._clock_ns()
        timezone = self._settings.server.timezone
        try:
            address = read_address(own, request.query, now_ns=now_ns, timezone=timezone, since=page.since, by=page.by)
        except (WindowError, QueryError) as problem:
            return self._bad_query(problem, page, form, own)
        except ValueError as problem:
            return self._writer.problem(400, str(problem), "leave the query out", html=form == "html", page=page, back=own)
        key, gauges = f"{request.path}?{request.query} {form}", self._gauges()
        make = partial(asyncio.to_thread, self._page, page, form, address, now_ns, gauges)
        return await self._shared.get(key, make, heavy=bool(address.apart))

    def _page(self, page: Page, form: Form, address: Address, now_ns: int, gauges: Gauges) -> Reply:
        """One page in one form; what stands in its way becomes a page that says so."""
        html = form == "html"
        try:
            with self._reading() as (snapshot, reader):
                context = Context(
                    self._settings, snapshot, reader, self._prices,
                    runs=self._runs, price_source=self._price_source, gauges=gauges, papers=self._papers,
                    histories=self._histories, now_ns=now_ns,
                )  # fmt: skip
                view = page.build(context, address)
            return self._writer.page(page, form, address, view)
        except QueryError as problem:
            return self._bad_query(problem, page, form, address.path)
        except NotHere as problem:
            return self._writer.problem(404, str(problem), problem.hint, html=html, page=page)
        except (StoreError, JournalError) as problem:
            return self._writer.away(str(problem), problem.hint, html=html, page=page, link=address.link())

    def _bad_query(self, problem: WindowError | QueryError, page: Page, form: Form, back: str) -> Reply:
        return self._writer.problem(400, _web_words(str(problem)), _web_words(problem.hint), html=form == "html", page=page, back=back)


def _find(path: str) -> tuple[Page, Form] | str | None:
    """The page and the form of an address; the address that is meant, for one that is nearly right; None for no page at all."""
    forms: dict[str, Form] = {"": "html", ".json": "json", ".csv": "csv"}
    for page in PAGES:
        for ending, form in forms.items():
            right = page.path if form == "html" else page.stem + ending
            if form == "csv" and page.sheet is None:
                continue
            if path == right:
                return page, form
            if path in (page.stem + ending, page.path + ending, right + "/"):
                return right
    for page in DETAILS:
        start = page.path.partition("{")[0]
        if path.startswith(start) and len(path) > len(start) and "/" not in path[len(start) :]:
            return page, "json" if path.endswith(".json") else "html"
    return None


def _web_words(text: str) -> str:
    """A message of the command line, in the words of the address bar."""
    return text.replace("--", "")
