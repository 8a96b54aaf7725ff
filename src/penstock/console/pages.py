"""The pages of the console, in the order of the menu. What is not in this list does not exist."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from penstock.console import budgets, costs, fleet, live, request, requests, routing, savings, simulation, today
from penstock.console.context import Context, Sheet, View
from penstock.console.query import Address
from penstock.console.streams import Sources
from penstock.wire.message import Request
from penstock.wire.responder import Responder

Stream = Callable[[Sources, Request, Responder], Awaitable[None]]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page. `build` answers from a context and an address; the frozen struct that it returns is the JSON twin."""

    path: str
    """`/x`, or `/x/{id}` for one thing: `build` then finds the id in the address's path"""
    stem: str
    """the twins are `<stem>.json` and `<stem>.csv`"""
    name: str
    title: str
    """the question that the page answers"""
    template: str
    build: Callable[[Context, Address], View]
    sheet: Callable[[Any, Address], Sheet] | None = None
    since: str = "30d"
    """the window when the address names none"""
    by: tuple[str, ...] = ()
    refresh_s: int | None = None
    """the open page renews itself this often"""


PAGES = (
    Page(
        path="/", stem="/today", name="Today", title="Are we on plan?", template="today.html", build=today.build, refresh_s=10,
    ),
    Page(
        path="/budgets", stem="/budgets", name="Budgets & SLOs", title="Will each budget hold?", template="budgets.html",
        build=budgets.build, sheet=budgets.sheet, refresh_s=30,
    ),
    Page(
        path="/costs", stem="/costs", name="Costs", title="Who spends what?", template="costs.html",
        build=costs.build, sheet=costs.sheet, by=("team",),
    ),
    Page(
        path="/requests", stem="/requests", name="Requests", title="What just happened?", template="requests.html",
        build=requests.build, since=requests.SINCE,
    ),
    Page(
        path="/savings", stem="/savings", name="Savings", title="What do we save?", template="savings.html",
        build=savings.build, sheet=savings.sheet, by=("feature",),
    ),
    Page(
        path="/routing", stem="/routing", name="Routing", title="Are cheap answers good enough?", template="routing.html",
        build=routing.build, sheet=routing.sheet, since=routing.SINCE,
    ),
    Page(
        path="/fleet", stem="/fleet", name="Fleet", title="Do we use what we rent?", template="fleet.html",
        build=fleet.build, sheet=fleet.sheet, refresh_s=30,
    ),
    Page(
        path="/simulation", stem="/simulation", name="Simulation", title="What would other hardware cost?", template="simulation.html",
        build=simulation.build, sheet=simulation.sheet,
    ),
)  # fmt: skip
"""the menu"""

DETAILS = (
    Page(
        path="/requests/{id}", stem="", name="Requests", title="Why did this one cost that?", template="request.html", build=request.build,
    ),
    Page(
        path="/simulation/{id}", stem="", name="Simulation", title="What would other hardware cost?", template="simulation.html",
        build=simulation.build_one,
    ),
)  # fmt: skip
"""pages of one thing, which no menu lists: `/requests/{id}`, `/simulation/{id}`"""

STREAMS: Mapping[str, Stream] = MappingProxyType(
    {"/requests.csv": requests.export, "/requests/live": live.tail_html, "/requests/live.json": live.tail_json}
)
"""addresses that are answered as long as somebody listens"""
