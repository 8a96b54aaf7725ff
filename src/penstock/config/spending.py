"""`[[budgets]] [[limits]] [[slos]] [queue] [notify.*]`: how much may be spent, how fast, and what happens when it is too much."""

from typing import Annotated, Literal

from penstock.config.tables import Positive, Secret, Table, doc
from penstock.domain.units import Duration


class Alert(Table, frozen=True):
    """One mark of a budget and who hears of it."""

    at: Annotated[float | Literal["forecast"], doc("Percent of the limit, or `forecast`: the period is expected to end above it.")]
    notify: Annotated[tuple[str, ...], doc("Who hears of this mark; unset: the budget's `notify`.")] = ()


class Budget(Table, frozen=True):
    """A limit on spend over a period."""

    name: Annotated[str, doc("Name in reports and refusals.")]
    limit: Annotated[str, doc("The limit: `2500 USD / month`, `50 USD / rolling 24h`, `400 gpu-hours / month`.")]
    where: Annotated[
        dict[str, str],
        doc("Tags of what counts, or `model`, `tier`, `fleet` ...; none: all. Budgets that overlap all hold."),
    ] = {}
    at_limit: Annotated[
        Literal["alert", "downgrade", "queue", "refuse"],
        doc(
            "What happens at the limit: only `alert`; or a hard cap: `refuse`, `queue` (wait up to `max_wait`, then refuse), or "
            "`downgrade` to a cheaper tier (and refuse when not even that fits)."
        ),
    ] = "alert"
    fail: Annotated[
        Literal["closed", "open"],
        doc("While the shared store is away: a cap stays `closed` (503), or `open` (served, counted later, and said loudly)."),
    ] = "closed"
    max_wait: Annotated[Duration, doc("Longest wait of `queue`.")] = Duration(30)
    timezone: Annotated[str | None, doc("Zone of its calendar periods; unset: `server.timezone`.")] = None
    alert_at: Annotated[
        tuple[float | Literal["forecast"] | Alert, ...],
        doc("Marks in percent of the limit, or `forecast`; or tables with their own `notify`."),
    ] = ()
    notify: Annotated[tuple[str, ...], doc("Who hears of the marks: names of `[notify.*]`.")] = ()


class RateLimit(Table, frozen=True):
    """How fast calls may come; what is beyond it is answered 429."""

    name: Annotated[str, doc("Name in refusals.")]
    where: Annotated[dict[str, str], doc("Tags of the requests that it holds for, or `model`, `key_id` ...; none: all.")] = {}
    by: Annotated[tuple[str, ...], doc('A limit of its own for every value of these keys: `["key_id"]`, `["team"]`.')] = ()
    requests: Annotated[str | None, doc("Requests, such as `600 / minute` (second, minute, hour, day).")] = None
    tokens: Annotated[str | None, doc("Input and output tokens, such as `100000 / minute`; an estimate is held at first.")] = None
    concurrent: Annotated[Positive | None, doc("Requests that may be under way at once.")] = None


class Queue(Table, frozen=True):
    """Who waits how long when an upstream has no place left (`max_concurrent`): critical first, fair between tenants."""

    critical: Annotated[Duration, doc("Longest wait of requests with the sla `critical`.")] = Duration(30)
    standard: Annotated[Duration, doc("Longest wait of `standard` requests, and of those without an sla.")] = Duration(10)
    best_effort: Annotated[Duration, doc("Longest wait of `best_effort` requests, also while an objective holds them back.")] = Duration(2)
    max_waiting: Annotated[Positive, doc("Requests that wait in one worker; beyond it the least urgent are answered 429.")] = 1000


class Slo(Table, frozen=True):
    """An objective that acts when it is missed."""

    metric: Annotated[Literal["cp1kt"], doc("What is measured: the cost per 1,000 tokens.")]
    target: Annotated[str, doc("What is promised, such as `<= 0.0040 USD`.")]
    window: Annotated[Duration, doc("Over which time; a twelfth of it tells whether the miss still goes on.")]
    name: Annotated[str | None, doc("Name in reports; unset: what it measures and where.")] = None
    where: Annotated[dict[str, str], doc("Tags or derived tags of the requests that count.")] = {}
    respond: Annotated[
        tuple[str, ...],
        doc(
            "What is done when it is missed, all at once, and undone when it is met again: `shift_traffic:<tier>`, `downgrade`, "
            "`hold_best_effort`, `scale_down:<fleet>`, `notify:<name>`."
        ),
    ] = ()
    dry_run: Annotated[bool, doc("Only say what would be done.")] = False


class Notify(Table, frozen=True):
    """Where messages go."""

    kind: Annotated[
        Literal["webhook", "slack", "email", "apprise"],
        doc(
            "`webhook`: a POST of JSON; `slack`: an incoming webhook of Slack; `email`: a `mailtos://` address, and `apprise`: any address "
            "that Apprise knows, both with the extra `notify`."
        ),
    ]
    url: Annotated[Secret | str, doc("Where it is sent.")]
