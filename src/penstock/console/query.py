"""The address bar: window, grouping, filters and order, read into one frozen value, and written back into links.

The words are those of the command line: `since`, `until`, `by`, `where`; `sort` names a column.
"""

from collections.abc import Iterable
from urllib.parse import parse_qsl, urlencode

import msgspec

from penstock.domain.ledger.grouping import PERIODS, SUMMED
from penstock.domain.ledger.measures import CostQuery
from penstock.finops.costs import QueryError, cost_query
from penstock.finops.window import Window, iso, window

MOST_FIELDS, MOST_KEYS = 64, 8
ROLLED_UP = (*SUMMED, *PERIODS)
"""keys whose sums the store keeps; of any other it reads every record of the window"""
EVERY_RECORD_SINCE = "24h"
"""the window of such a question when none is named"""
_OWN = ("since", "until", "by", "where", "sort")


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """What a page was asked for. Its links keep what they do not change."""

    path: str
    window: Window
    by: tuple[str, ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    sort: str | None = None
    since: str | None = None
    """as written; None: the page's own default"""
    until: str | None = None
    more: tuple[tuple[str, str], ...] = ()
    """fields that only one page knows"""

    @property
    def apart(self) -> tuple[str, ...]:
        """Its keys of which no sums are kept: with any, every record of the window is read."""
        return tuple(dict.fromkeys(key for key in (*self.by, *(key for key, _ in self.where)) if key not in ROLLED_UP))

    def get(self, name: str) -> str | None:
        """The last value of a field that only this page knows."""
        return dict(self.more).get(name)

    def query(self, *by: str) -> CostQuery:
        """The window and filters of this address, grouped by `by`."""
        return CostQuery(since_ns=self.window.since_ns, until_ns=self.window.until_ns, by=by, where=self.where)

    def link(self, suffix: str = "", path: str | None = None) -> str:
        """This very address; `suffix` is `.json` or `.csv` for the twins, `path` another page that is asked the same."""
        at = (self.path if path is None else path) + suffix
        fields = [(name, value) for name, value in (("since", self.since), ("until", self.until), ("sort", self.sort)) if value]
        fields += [("by", ",".join(self.by))] if self.by else []
        fields += [("where", f"{key}={value}") for key, value in self.where]
        fields += list(self.more)
        return f"{at}?{urlencode(fields)}" if fields else at

    def kept(self, but: str = "") -> tuple[tuple[str, str], ...]:
        """The fields that a form sends along: all of this address but its own."""
        fields = parse_qsl(self.link().partition("?")[2])
        return tuple(pair for pair in fields if pair[0] != but)

    def over(self, since: str | None, until: str | None = None) -> "Address":
        """The same over another window."""
        return msgspec.structs.replace(self, since=since, until=until)

    def grouped(self, *by: str) -> "Address":
        """The same by other keys."""
        return msgspec.structs.replace(self, by=by, sort=None)

    def only(self, key: str, value: str) -> "Address":
        """The same with one filter more."""
        return msgspec.structs.replace(self, where=tuple(dict.fromkeys((*self.where, (key, value)))))

    def without(self, key: str, value: str) -> "Address":
        """The same with one filter less."""
        return msgspec.structs.replace(self, where=tuple(pair for pair in self.where if pair != (key, value)))

    def with_field(self, name: str, value: str) -> "Address":
        """The same with another value of a field that only one page knows."""
        return msgspec.structs.replace(self, more=(*(pair for pair in self.more if pair[0] != name), (name, value)))

    def sorted_by(self, column: str) -> "Address":
        """The same in another order."""
        return msgspec.structs.replace(self, sort=column)

    def json(self) -> dict[str, object]:
        """What was asked, in the words of `penstock cost --json`."""
        return {
            "since": iso(self.window.since_ns),
            "until": iso(self.window.until_ns),
            "timezone": self.window.timezone,
            "label": self.window.label,
            "by": list(self.by),
            "where": [f"{key}={value}" for key, value in self.where],
        }


def read_address(path: str, text: str, *, now_ns: int, timezone: str, since: str, by: Iterable[str] = ()) -> Address:
    """The address in a query string; `since` and `by` are the page's defaults. Empty fields are as good as absent.

    Where every record has to be read, the default is no longer than a day.
    Raises `WindowError` or `QueryError`, whose hint says what is accepted, and `ValueError` for more fields than any page has.
    """
    fields = [(name, value.strip()) for name, value in parse_qsl(text, max_num_fields=MOST_FIELDS) if value.strip()]
    given = dict(fields)
    keys = [key for name, value in fields if name == "by" for key in value.split(",") if key.strip()]
    if len(set(keys)) > MOST_KEYS:
        raise QueryError(f"{len(set(keys))} keys are too many to group by", f"name {MOST_KEYS} or fewer, and filter by the others")
    filters = [value for name, value in fields if name == "where"]
    period = window(given.get("since", since), given.get("until"), now_ns=now_ns, timezone=timezone)
    asked = cost_query(period, keys or by, filters)
    address = Address(
        path=path,
        window=period,
        by=asked.by,
        where=asked.where,
        sort=given.get("sort"),
        since=given.get("since"),
        until=given.get("until"),
        more=tuple(pair for pair in fields if pair[0] not in _OWN),
    )
    if not address.apart or {"since", "until"} & given.keys():
        return address
    return msgspec.structs.replace(address, window=window(EVERY_RECORD_SINCE, None, now_ns=now_ns, timezone=timezone))
