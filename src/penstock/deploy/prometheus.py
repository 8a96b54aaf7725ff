"""Rules for Prometheus: the figures that are asked for again and again, recorded; and what somebody should be told of.

Windows are kept apart by `job`, so that one Prometheus can watch several Penstocks.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from penstock.deploy.panels import FAILED, cp1kt
from penstock.deploy.promql import JOB, Selection, share
from penstock.ports import metrics as m

SCRAPE_S = 15
KEY_FILE = "/etc/prometheus/penstock-metrics-key"
"""where a Prometheus finds the key of `/metrics`, if there is one: a file of the key alone"""
MOST_GROUPS = 3
"""declared tags that figures are recorded for: the first ones, users aside"""
SPENT_RATIO, FORECAST_RATIO = "penstock:budget_spent_ratio", "penstock:budget_forecast_ratio"


class Recorded(msgspec.Struct, frozen=True):
    """A recording rule."""

    name: str
    expr: str


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert rule. `held`: how long it must be true. `then`: what to do about it."""

    name: str
    expr: str
    held: str
    severity: Literal["critical", "warning", "info"]
    summary: str
    says: str
    then: str


def rules(declared: Sequence[str]) -> dict[str, Any]:
    """The rule file for these declared tags: one group of recordings, one of alerts."""
    labels = tuple(m.tag_labels(declared).values())
    watched = ("model", *[label for label in labels if label != "user"][:MOST_GROUPS])
    return {
        "groups": [
            {
                "name": "penstock-figures",
                "rules": [{"record": each.name, "expr": each.expr} for each in recordings(labels, watched)],
            },
            {"name": "penstock-alerts", "rules": [_alert(each) for each in alerts(labels)]},
        ]
    }


def scrape(listen: str, *, keyed: bool = False) -> dict[str, Any]:
    """A part of prometheus.yml that scrapes this Penstock and reads the rules. `listen` is `host:port`; any host is this one.
    `keyed`: it answers to a key, which Prometheus reads from a file."""
    host, _, port = listen.rpartition(":")
    listen = f"localhost:{port}" if host in ("0.0.0.0", "[::]", "") else listen  # noqa: S104  nothing is bound here
    return {
        "rule_files": ["penstock-rules.yml"],
        "scrape_configs": [
            {
                "job_name": "penstock",
                "scrape_interval": f"{SCRAPE_S}s",
                "metrics_path": "/metrics",
                **({"authorization": {"credentials_file": KEY_FILE}} if keyed else {}),
                "static_configs": [{"targets": [listen]}],
            }
        ],
    }


def recordings(labels: tuple[str, ...], watched: Sequence[str]) -> Iterator[Recorded]:
    """Named `penstock:<figure>:by_<label>_<window>`; without a label, of all together."""
    for window in ("1h", "6h", "24h"):
        x = Selection(labels, window)
        yield Recorded(f"penstock:cp1kt_usd:{window}", cp1kt(x, JOB))
        yield Recorded(f"penstock:spend_usd_per_hour:{window}", f"3600 * {x.rate(m.COST, by=(JOB,))}")
        for label in watched:
            yield Recorded(f"penstock:cp1kt_usd:by_{label}_{window}", cp1kt(x, JOB, label))
            yield Recorded(f"penstock:spend_usd_per_hour:by_{label}_{window}", f"3600 * {x.rate(m.COST, by=(JOB, label))}")
    hour, minutes = Selection(labels, "1h"), Selection(labels, "5m")
    by_model = (JOB, "model")
    answered = hour.gained(m.REQUESTS, by=by_model)
    priced = f"({answered} - {hour.gained(m.UNPRICED, by=by_model)} > 0)"
    yield Recorded("penstock:cost_per_request_usd:by_model_1h", f"{hour.gained(m.COST, by=by_model)} / {priced}")
    yield Recorded("penstock:unpriced_share:by_model_1h", share(hour.gained(m.UNPRICED, by=by_model), answered))
    wasted = share(hour.gained(m.WASTED, by=(JOB,)), hour.gained(m.COST, by=(JOB,)))
    yield Recorded("penstock:wasted_share:1h", wasted)
    hits = hour.gained(m.CACHE_ANSWERS, 'cache=~"exact|normalised|semantic"', by=(JOB,))
    yield Recorded("penstock:cache_hit_share:1h", share(hits, hour.gained(m.CACHE_ANSWERS, by=(JOB,))))
    yield Recorded(SPENT_RATIO, _of_limit(hour, m.BUDGET_SPENT_USD, m.BUDGET_SPENT_GPU_HOURS))
    yield Recorded(FORECAST_RATIO, _of_limit(hour, m.BUDGET_FORECAST_USD, m.BUDGET_FORECAST_GPU_HOURS))
    for x in (minutes, hour):
        failed = share(x.rate(m.REQUESTS, FAILED, by=by_model), x.rate(m.REQUESTS, by=by_model))
        yield Recorded(f"penstock:error_ratio:by_model_{x.window}", failed)
        yield Recorded(f"penstock:first_token_p95_seconds:by_model_{x.window}", x.quantile(0.95, m.FIRST_TOKEN, by=by_model))


def alerts(labels: tuple[str, ...]) -> Iterator[Alert]:
    """Thresholds are a start: edit them in the rendered file."""
    yield from _about_money(Selection(labels, "15m"))
    yield from _about_budgets()
    yield from _about_promises(Selection(labels, "15m"))
    yield from _about_routing(Selection(labels, "1h"))
    yield from _about_service()
    yield from _about_the_ledger(Selection(labels, "10m"))


def _about_money(x: Selection) -> Iterator[Alert]:
    # a series that is new has had no increase yet, and one unpriced request may be all there is
    new = f"{x.series(m.UNPRICED)} unless {x.series(m.UNPRICED)} offset {x.window}"
    yield Alert(
        name="PenstockUnpricedRequests",
        held="0m",
        severity="warning",
        expr=f"{x.gained(m.UNPRICED, by=(JOB, 'model'))} > 0 or sum by (job, model) ({new}) > 0",
        summary="Requests of {{ $labels.model }} have no price",
        says="Their cost is unknown and in no cost figure.",
        then='Run `penstock check`: it says which models have no price, and why. Give them one, or set [server] unpriced = "refuse".',
    )
    yield Alert(
        name="PenstockCostPerTokenJump",
        held="30m",
        severity="warning",
        expr="penstock:cp1kt_usd:by_model_6h > 1.3 * (penstock:cp1kt_usd:by_model_6h offset 1w) "
        "and penstock:spend_usd_per_hour:by_model_6h > 0.1",
        summary="CP1KT of {{ $labels.model }} is 30 % above that of a week ago",
        says='{{ $value | printf "%.6f" }} USD per 1,000 tokens over the last 6 hours.',
        then="Compare `penstock cost --by model,team` of both weeks: more output per request, fewer cached input tokens, or a new price?",
    )
    yield Alert(
        name="PenstockSpendJump",
        held="15m",
        severity="warning",
        expr="penstock:spend_usd_per_hour:1h > 2 * (penstock:spend_usd_per_hour:1h offset 1w) and penstock:spend_usd_per_hour:1h > 1",
        summary="Spend is twice that of the same hour a week ago",
        says='{{ $value | printf "%.2f" }} USD per hour.',
        then="Look for who it is: `penstock cost --since 1h --by team,feature,model`.",
    )
    yield Alert(
        name="PenstockPaidForNothing",
        held="30m",
        severity="info",
        expr="penstock:wasted_share:1h > 0.05",
        summary="More than 5 % of the spend goes to tries that bring no answer",
        says="{{ $value | humanizePercentage }} over the last hour.",
        then="Look at penstock_upstream_attempts_total: timeouts and broken streams are paid for. Raise the timeout, or mend the upstream.",
    )


def _about_budgets() -> Iterator[Alert]:
    """The default marks of every budget; each ends where the next one begins, so that one of them fires."""
    marks: tuple[tuple[int, float | None, Literal["critical", "warning", "info"]], ...] = (
        (50, 0.8, "info"),
        (80, 0.95, "warning"),
        (95, None, "critical"),
    )
    for mark, below, severity in marks:
        yield Alert(
            name=f"PenstockBudget{mark}",
            held="0m",
            severity=severity,
            expr=f"{SPENT_RATIO} >= {mark / 100:g}" + ("" if below is None else f" and {SPENT_RATIO} < {below:g}"),
            summary=f"Budget {{{{ $labels.budget }}}} has spent more than {mark} % of its limit",
            says="{{ $value | humanizePercentage }} of the limit of its current period.",
            then="`penstock budget list` says when it ends; `penstock cost --by team,feature,model` who spends it.",
        )
    yield Alert(
        name="PenstockBudgetForecast",
        held="15m",
        severity="warning",
        expr=f"{FORECAST_RATIO} > 1 and {SPENT_RATIO} < 1",
        summary="Budget {{ $labels.budget }} is expected to end above its limit",
        says="{{ $value | humanizePercentage }} of the limit at the end of the period.",
        then="`penstock budget forecast` shows the band and the day it ends. Lower the spend, or raise the limit while there is time.",
    )


def _about_promises(x: Selection) -> Iterator[Alert]:
    refused = x.series(m.REFUSED_BUDGET)
    new = f"sum by (job, budget) ({refused} unless {refused} offset {x.window})"
    yield Alert(
        name="PenstockBudgetClosed",
        held="0m",
        severity="critical",
        expr=f"{x.gained(m.REFUSED_BUDGET, by=(JOB, 'budget'))} > 0 or {new} > 0",
        summary="Budget {{ $labels.budget }} is closed: requests are refused",
        says="{{ $value | humanize }} requests in 15 minutes were answered 402.",
        then="`penstock budget list` says until when. Raise the limit, or wait for the next period.",
    )
    yield Alert(
        name="PenstockReservationExceeded",
        held="0m",
        severity="warning",
        expr=f"{x.gained(m.RESERVATION_EXCEEDED, by=(JOB,))} > 0",
        summary="Answers cost more than was held for them",
        says="They are booked whole; a cap may have been passed by as much.",
        then="`penstock explain` of such a request shows both. Raise the model's max_output, or correct its price.",
    )
    yield Alert(
        name="PenstockBookAway",
        held="1m",
        severity="critical",
        expr=f"{m.BOOK_UP.name} == 0",
        summary="The book of grants does not answer",
        says='Hard caps with fail = "closed" refuse; those with fail = "open" are not held.',
        then="Check [server] shared; the log of `penstock serve` has the reason.",
    )
    yield Alert(
        name="PenstockAlertsUndelivered",
        held="5m",
        severity="critical",
        expr=f"{m.ALERTS_UNDELIVERED.name} > 0",
        summary="Messages of Penstock do not arrive",
        says="{{ $value | humanize }} wait or were given up.",
        then="`penstock budget test-alert` says which [notify.*] fails, and why.",
    )
    yield Alert(
        name="PenstockObjectiveMissed",
        held="5m",
        severity="warning",
        expr=f"min by (job, objective) ({m.OBJECTIVE_BURN_RATE.name}) > 1",
        summary="Objective {{ $labels.objective }} is missed",
        says='{{ $value | printf "%.2f" }} times its target at least, over its long and its short window.',
        then="`penstock cost --by model,team` says whose cost per token rose. What is done about it is in the audit log.",
    )
    yield Alert(
        name="PenstockCacheAlarm",
        held="0m",
        severity="warning",
        expr=f"max by ({JOB}) ({m.CACHE_ALARMS.name}) > 0",
        summary="The semantic cache is wrong more often than judged",
        says="In {{ $value | humanize }} scopes it has fallen back to zero-trust: fewer answers are replayed, and costs rise.",
        then="The console's page Savings shows what was measured. Look for answers that changed: a new model version, or prices and dates.",
    )


def _about_routing(x: Selection) -> Iterator[Alert]:
    yield Alert(
        name="PenstockRouteAlarm",
        held="0m",
        severity="warning",
        expr=f'max by ({JOB}, route, tag) ({m.ROUTE_STATE.name}{{state="alarm"}}) > 0',
        summary="Route {{ $labels.route }}, {{ $labels.tag }}: answers of a cheap tier were worse than promised",
        says="Its cheap way is closed until labels speak for it again: answers are as good as the last tier's, and cost as much.",
        then="`penstock route status` shows the labels. Look for what changed: the questions, a prompt, or the model behind the tier.",
    )
    wanting = x.gained(m.ROUTE_SHADOWS, by=(JOB, "route"))
    lost = x.gained(m.ROUTE_SHADOWS, 'outcome!="labelled"', by=(JOB, "route"))
    yield Alert(
        name="PenstockRouteUnmeasured",
        held="30m",
        severity="warning",
        expr=f"{share(lost, wanting)} > 0.5 and {wanting} > 4",
        summary="Route {{ $labels.route }}: most shadows bring no label",
        says="{{ $value | humanizePercentage }} lately: what it loses is measured by few requests, and cheap ways open late.",
        then="penstock_route_shadow_total says why: failed (a tier is down), untold (no check or judge can tell), budget, cap or busy.",
    )


def _about_service() -> Iterator[Alert]:
    yield Alert(
        name="PenstockNotScraped",
        held="2m",
        severity="critical",
        expr='up{job="penstock"} == 0 or absent(up{job="penstock"})',
        summary="Penstock's metrics cannot be read",
        says="Either nothing answers, or its controller is away; model calls may go on.",
        then="Look at /healthz, then at the log of `penstock serve`. No other alert can fire meanwhile.",
    )
    yield Alert(
        name="PenstockErrors",
        held="10m",
        severity="critical",
        expr="penstock:error_ratio:by_model_5m > 0.05",
        summary="{{ $labels.model }}: more than 5 % of the requests fail",
        says="{{ $value | humanizePercentage }} over 5 minutes.",
        then="Look at penstock_upstream_attempts_total and penstock_circuit_open, then at the upstream. A fallback keeps callers served.",
    )
    yield Alert(
        name="PenstockSlowFirstToken",
        held="10m",
        severity="warning",
        expr="penstock:first_token_p95_seconds:by_model_5m > 5",
        summary="{{ $labels.model }}: one of 20 waits more than 5 s for its first token",
        says='P95 {{ $value | printf "%.1f" }} s over 5 minutes.',
        then="Look at penstock_upstream_outstanding: a queue before the engine means too few replicas, none means long prompts.",
    )
    yield Alert(
        name="PenstockCircuitOpen", held="5m", severity="warning",
        expr=f"sum by (job, upstream, replica) ({m.CIRCUIT_OPEN.name}) > 0",
        summary="Replica {{ $labels.replica }} of {{ $labels.upstream }} is left alone",
        says="It failed too often; the others take its work.",
        then="The log of `penstock serve` says how it failed.",
    )  # fmt: skip


def _about_the_ledger(x: Selection) -> Iterator[Alert]:
    yield Alert(
        name="PenstockStoreAway",
        held="5m",
        severity="critical",
        expr=f"{m.STORE_UP.name} == 0",
        summary="The ledger's store takes nothing in",
        says="Model calls go on and the journal keeps every record, as long as its disk has room.",
        then="Check [server] store; the log of `penstock serve` has the reason. What waits on the journal is taken in later.",
    )
    yield Alert(
        name="PenstockJournalLag",
        held="10m",
        severity="warning",
        expr=f"{m.JOURNAL_LAG.name} > 1000 and deriv({m.JOURNAL_LAG.name}[10m]) > 0",
        summary="The journal grows faster than it is taken in",
        says="{{ $value | humanize }} entries wait.",
        then="See PenstockStoreAway; if the store is up, it is too slow for this traffic.",
    )
    yield Alert(
        name="PenstockJournalFailures",
        held="0m",
        severity="critical",
        expr=f"{x.gained(m.JOURNAL_FAILURES, by=(JOB,))} > 0",
        summary="The journal cannot be written",
        says="By default requests are refused then, for they could not be metered.",
        then="Check the disk behind [server] journal: room, permissions, errors.",
    )
    yield Alert(
        name="PenstockUnmeteredRequests",
        held="0m",
        severity="critical",
        expr=f"{x.gained(m.UNMETERED, by=(JOB,))} > 0",
        summary="Requests were answered without a record",
        says="They are in no cost figure, and no budget has counted them.",
        then='See PenstockJournalFailures. [server] journal_failure = "refuse" would answer 503 instead.',
    )
    yield Alert(
        name="PenstockLabelsFolded",
        held="0m",
        severity="info",
        expr=f"{x.gained(m.DROPPED, by=(JOB,))} > 0",
        summary="There are too many label sets: some tags are counted as `other`",
        says="The ledger keeps them all; only /metrics folds them.",
        then="Take tags of many values, such as `user`, out of [tags] declared.",
    )
    yield Alert(
        name="PenstockTracesDropped",
        held="15m",
        severity="info",
        expr=f"{x.gained(m.TRACES_DROPPED, by=(JOB,))} > 0",
        summary="Traces are given up",
        says="The ledger lacks nothing; the trace system does.",
        then="Check [telemetry] traces and its receiver; the log of `penstock serve` has the reason.",
    )


def _of_limit(x: Selection, usd: m.Metric, gpu_hours: m.Metric) -> str:
    """An amount over the limit, by budget, whatever its unit; hosts that share a ledger tell the same."""
    by = f"max by ({JOB}, budget)"
    pairs = ((usd, m.BUDGET_LIMIT_USD), (gpu_hours, m.BUDGET_LIMIT_GPU_HOURS))
    return " or ".join(f"{by} ({x.series(amount)}) / {by} ({x.series(limit)})" for amount, limit in pairs)


def _alert(alert: Alert) -> dict[str, Any]:
    rule: dict[str, Any] = {"alert": alert.name, "expr": alert.expr}
    if alert.held != "0m":
        rule["for"] = alert.held
    return rule | {
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.summary, "description": alert.says, "runbook": alert.then},
    }
