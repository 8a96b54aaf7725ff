"""What the dashboard shows, as data: rows of panels, each with its question, its unit and its PromQL."""

from typing import Literal

import msgspec

from penstock.deploy.promql import Selection, share
from penstock.ports import metrics as m

FAILED = 'outcome=~"error|stream_broken|interrupted"'
"""the client's own leaving is no failure of ours"""
Unit = Literal["currencyUSD", "percentunit", "s", "short", "reqps", "bytes", "cps"]


class Query(msgspec.Struct, frozen=True):
    """One expression and what its series are called (`{{label}}` is the label's value)."""

    expr: str
    legend: str = ""


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One drawing. `width` in 24ths of the page. A `stat` shows the last value of each query, a `series` all of them."""

    title: str
    says: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: Literal["stat", "series"] = "series"
    width: int = 8
    stacked: bool = False
    decimals: int | None = None
    alarm: float | None = None
    """a value from which the panel turns red"""


class Row(msgspec.Struct, frozen=True):
    title: str
    panels: tuple[Panel, ...]


def rows(seen: Selection, over: Selection, by: str, tags: tuple[str, ...]) -> tuple[Row, ...]:
    """The dashboard. `seen` looks at a moment, `over` at the whole range shown; `by` is the label to group by, `tags` those to watch."""
    return (
        Row("Money", (*_totals(over), *_money(seen, by), *_by_tag(seen, tags))),
        Row("Service", _service(seen)),
        Row("Answers from the cache", (*_cache(seen), *_kept(seen, over))),
        Row("Routing", _routing(seen, over)),
        Row("Health", _health(seen, over)),
    )


def cp1kt(x: Selection, *by: str) -> str:
    """`measures.cp1kt_usd` over the window; nothing where no token was processed."""
    return f"1000 * {x.gained(m.COST, by=by)} / ({x.gained(m.PRICED_TOKENS, by=by)} > 0)"


def _totals(x: Selection) -> tuple[Panel, ...]:
    def stat(title: str, says: str, unit: Unit, expr: str, decimals: int | None = None, alarm: float | None = None) -> Panel:
        return Panel(title=title, says=says, unit=unit, queries=(Query(expr),), kind="stat", width=4, decimals=decimals, alarm=alarm)

    answered, cost = x.gained(m.REQUESTS), x.gained(m.COST)
    return (
        stat("Spend", "Cost of the range shown, as Prometheus extrapolates it; exact: penstock cost.", "currencyUSD", cost, 4),
        stat("CP1KT", "Cost per 1,000 tokens processed, input and output, of priced requests.", "currencyUSD", cp1kt(x), 6),
        stat("Requests", "Answered by a model, the cache, or with an upstream's failure.", "short", answered, 0),
        stat(
            "Saved against the baseline", "Counterfactual less cost, over the requests that both are known of.", "currencyUSD",
            f"{x.gained(m.COUNTERFACTUAL)} - {x.gained(m.COMPARED_COST)}", 4,
        ),
        stat(
            "Unpriced", "Share of requests whose cost is unknown: in no cost figure.", "percentunit",
            share(x.gained(m.UNPRICED), answered), 2, 0.0001,
        ),
        stat("Estimated", "Share of requests whose cost rests on an estimate.", "percentunit", share(x.gained(m.ESTIMATED), answered), 2),
    )  # fmt: skip


def _money(x: Selection, by: str) -> tuple[Panel, ...]:
    name = f"{{{{{by}}}}}"
    named = Query(f"3600 * {x.rate(m.COST, by=(by,))}", name)
    priced = f"({x.rate(m.REQUESTS, by=(by,))} - {x.rate(m.UNPRICED, by=(by,))} > 0)"
    return (
        Panel(title="Spend per hour by ${by}", says="Cost per hour.", unit="currencyUSD", queries=(named,), width=12, stacked=True),
        Panel(
            title="CP1KT by ${by}", says="Cost per 1,000 tokens processed of priced requests; gaps where none was.", unit="currencyUSD",
            queries=(Query(cp1kt(x, by), name),), width=12, decimals=6,
        ),
        Panel(
            title="Cost per request by ${by}", says="Over priced requests, replayed answers included.", unit="currencyUSD", decimals=6,
            queries=(Query(f"{x.rate(m.COST, by=(by,))} / {priced}", name),),
        ),
        Panel(
            title="Against the baseline", says="What the baseline would have cost per hour, and what was paid for the same requests.",
            unit="currencyUSD",
            queries=(
                Query(f"3600 * {x.rate(m.COUNTERFACTUAL)}", "baseline"),
                Query(f"3600 * {x.rate(m.COMPARED_COST)}", "paid"),
            ),
        ),
        Panel(
            title="Paid for nothing", says="The part of the spend per hour that went to tries which brought no answer.", unit="currencyUSD",
            queries=(Query(f"3600 * {x.rate(m.WASTED, by=('upstream',))}", "{{upstream}}"),),
        ),
        Panel(
            title="Unpriced requests", says="Their cost is unknown; `penstock check` says which models have no price.", unit="reqps",
            queries=(Query(x.rate(m.UNPRICED, by=("model",)), "{{model}}"),),
        ),
        Panel(
            title="Fleets: rent and use per hour",
            says="Rent runs whether used or not; what requests were booked at on a fleet's upstream is an estimate. The gap is idle.",
            unit="currencyUSD",
            queries=(
                Query(f"sum by (fleet, gpu) ({x.series(m.FLEET_RENT)})", "rent {{fleet}} ({{gpu}})"),
                Query(f"3600 * {x.rate(m.COST, by=('upstream',))} and on (upstream) {x.series(m.FLEET_RENT)}", "booked on {{upstream}}"),
            ),
        ),
    )  # fmt: skip


def _by_tag(x: Selection, tags: tuple[str, ...]) -> tuple[Panel, ...]:
    untagged = tuple(Query(share(x.rate(m.COST, f'{tag}=""'), x.rate(m.COST)), f"no {tag}") for tag in tags)
    shown = [
        Panel(
            title=f"Spend per hour by {tag}", says="Cost per hour; the series without a name is what carries no such tag.",
            unit="currencyUSD", queries=(Query(f"3600 * {x.rate(m.COST, by=(tag,))}", f"{{{{{tag}}}}}"),), stacked=True,
        )
        for tag in tags
    ]  # fmt: skip
    if untagged:
        shown.append(
            Panel(title="Untagged share of the spend", says="Cost that nobody can be asked about.", unit="percentunit", queries=untagged)
        )
    return tuple(shown)


def _mix(x: Selection, metric: m.Metric, label: str) -> str:
    return f"{x.rate(metric, by=(label,))} / ignoring ({label}) group_left () {x.rate(metric)}"


def _service(x: Selection) -> tuple[Panel, ...]:
    by_model = x.rate(m.REQUESTS, by=("model",))
    outcomes = (Query(x.rate(m.REQUESTS, by=("outcome",)), "{{outcome}}"), Query(x.rate(m.REFUSED, by=("status",)), "refused {{status}}"))
    return (
        Panel(
            title="Time to first token, P95", says="From admission, by model; linear within a bucket.", unit="s",
            queries=(Query(x.quantile(0.95, m.FIRST_TOKEN, by=("model",)), "{{model}}"),),
        ),
        Panel(
            title="Duration", says="From admission to the end of the answer.", unit="s",
            queries=tuple(Query(x.quantile(p, m.DURATION), f"P{100 * p:g}") for p in (0.5, 0.95, 0.99)),
        ),
        Panel(
            title="Requests by outcome", says="What became of them; refused ones beside.", unit="reqps", stacked=True,
            queries=outcomes,
        ),
        Panel(
            title="Failed requests", says="Share answered with a failure, broken off or interrupted; the client's own leaving is left out.",
            unit="percentunit", queries=(Query(share(x.rate(m.REQUESTS, FAILED, by=("model",)), by_model), "{{model}}"),),
        ),
        Panel(
            title="Route mix", says="Which tier answered; a model outside the tiers has no name here.", unit="percentunit", stacked=True,
            queries=(Query(_mix(x, m.REQUESTS, "tier"), "{{tier}}"),),
        ),
        Panel(
            title="Tokens per second", says="Processed by models, in disjoint classes.", unit="cps", stacked=True,
            queries=(Query(x.rate(m.TOKENS_TOTAL, by=("token_class",)), "{{token_class}}"),),
        ),
        Panel(
            title="In flight", says="Requests being answered now, and calls out at each replica.", unit="short",
            queries=(
                Query(f"sum({x.series(m.IN_FLIGHT)})", "in flight"),
                Query(f"sum by (upstream, replica) ({x.series(m.OUTSTANDING)})", "{{upstream}} {{replica}}"),
            ),
        ),
        Panel(
            title="Calls of upstreams", says="Every try, retries and fallbacks included, by how it ended.", unit="reqps",
            queries=(Query(x.rate(m.ATTEMPTS, by=("upstream", "outcome")), "{{upstream}} {{outcome}}"),),
        ),
        Panel(
            title="Circuits open", says="Workers that leave a failing replica alone.", unit="short", alarm=1,
            queries=(Query(f"sum by (upstream, replica) ({x.series(m.CIRCUIT_OPEN)})", "{{upstream}} {{replica}}"),),
        ),
    )  # fmt: skip


def _cache(x: Selection) -> tuple[Panel, ...]:
    wrong, by_risk, promised = x.series(m.CACHE_WRONG), x.series(m.CACHE_EXPECTED), x.series(m.CACHE_PROMISED)
    return (
        Panel(
            title="Cache", says="Share of answers by what the cache did.", unit="percentunit", stacked=True,
            queries=(Query(_mix(x, m.CACHE_ANSWERS, "cache"), "{{cache}}"),),
        ),
        Panel(
            title="Avoided per hour", says="What answers from the cache would have cost, by layer; and what looking for them costs.",
            unit="currencyUSD",
            queries=(
                Query(f"3600 * {x.rate(m.CACHE_AVOIDED, by=('cache',))}", "{{cache}}"),
                Query(f"-3600 * {x.rate(m.EMBEDDING_COST)}", "embeddings"),
            ),
        ),
        Panel(
            title="Wrong answers by meaning", says="As a share of requests: as measured, as expected by risk, and as promised.",
            unit="percentunit", decimals=2,
            queries=(
                Query(f"max by (bound) ({wrong})", "measured: {{bound}}"),
                Query(f"max by (bound) ({by_risk})", "by risk: {{bound}}"),
                Query(f"min({promised})", "promised"),
            ),
        ),
        Panel(
            title="Looked up by meaning", says="By what came of it; a probe could be served and is asked to measure.", unit="reqps",
            stacked=True, queries=(Query(x.rate(m.CACHE_LOOKUPS, by=("verdict",)), "{{verdict}}"),),
        ),
        Panel(
            title="Time to embed", says="Until a question is a vector, waiting for others of its batch included.", unit="s",
            queries=tuple(Query(x.quantile(p, m.EMBEDDING_DURATION), f"P{100 * p:g}") for p in (0.5, 0.95)),
        ),
    )  # fmt: skip


def _kept(x: Selection, over: Selection) -> tuple[Panel, ...]:
    return (
        Panel(
            title="Memory of the cache", says="Of the exact cache, all workers together; and what the semantic one keeps.", unit="bytes",
            queries=(
                Query(f"sum({x.series(m.CACHE_BYTES)})", "exact"),
                Query(f"max({x.series(m.SEMANTIC_BYTES)})", "semantic"),
            ),
        ),
        Panel(
            title="Answers in the cache", says="Of the exact cache, all workers together; of the semantic one's largest scopes.",
            unit="short",
            queries=(
                Query(f"sum({x.series(m.CACHE_ENTRIES)})", "exact"),
                Query(f"topk(5, max by (scope) ({x.series(m.SEMANTIC_ENTRIES)}))", "semantic {{scope}}"),
            ),
        ),
        Panel(
            title="Answers let go", says="Entries that the semantic cache removed per second, by the reason.", unit="cps",
            queries=(Query(x.rate(m.SEMANTIC_REMOVED, by=("reason",)), "{{reason}}"),),
        ),
        Panel(
            title="Lessons of the cache", says="What waits for the semantic cache's store, and what was let go per second.", unit="short",
            queries=(
                Query(f"sum({x.series(m.SEMANTIC_WAITING)})", "waiting"),
                Query(x.rate(m.SEMANTIC_DROPPED, by=("worker",)), "let go, {{worker}}"),
            ),
        ),
        Panel(
            title="Stores of answers", says="Hosts whose workers all reach the store of the semantic cache; requests go on without.",
            unit="short", kind="stat", width=4, decimals=0, queries=(Query(f"sum({x.series(m.SEMANTIC_STORE_UP)})"),),
        ),
        Panel(
            title="Promises in doubt", says="Scopes in which probes speak against the risks: they answer as in zero-trust.", unit="short",
            kind="stat", width=4, decimals=0, alarm=1, queries=(Query(f"max({x.series(m.CACHE_ALARMS)})"),),
        ),
        Panel(
            title="Avoided by the cache", says="Over the range shown; exact, with what wrong answers may cost: the console's page Savings.",
            unit="currencyUSD", kind="stat", width=4, decimals=2, queries=(Query(over.gained(m.CACHE_AVOIDED)),),
        ),
    )  # fmt: skip


def _routing(x: Selection, over: Selection) -> tuple[Panel, ...]:
    loss, alarmed = x.series(m.ROUTE_EXPECTED_LOSS), x.series(m.ROUTE_STATE, 'state="alarm"')
    judged = x.rate(m.ROUTE_STAGES, 'kind!="direct"', by=("route",))
    not_kept = x.rate(m.ROUTE_STAGES, 'kind!="direct"', 'kept="no"', by=("route",))
    compared = x.rate(m.ROUTE_STAGES, 'kind="gate"', 'stratum!="failed"', by=("route",))
    return (
        Panel(
            title="Expected loss of routes", says="Of quality against the last tier, the worst tag of each, beside what may be lost.",
            unit="percentunit", decimals=2,
            queries=(
                Query(f"max by (route) ({loss})", "{{route}}"),
                Query(f"max by (route) ({x.series(m.ROUTE_ERROR_BUDGET)})", "error budget of {{route}}"),
            ),
        ),
        Panel(
            title="Escalated", says="Share of judged cheap answers that were not kept.", unit="percentunit",
            queries=(Query(share(not_kept, judged), "{{route}}"),),
        ),
        Panel(
            title="Agreement of gates", says="Share of answers that both tiers gave, of those that no check spoke against.",
            unit="percentunit",
            queries=(Query(share(x.rate(m.ROUTE_STAGES, 'stratum="agree"', by=("route",)), compared), "{{route}}"),),
        ),
        Panel(
            title="Paid beside requests", says="Per hour, for calls that are not the answer, by what for.", unit="currencyUSD",
            stacked=True, queries=(Query(f"3600 * {x.rate(m.ASIDE_COST, by=('purpose',))}", "{{purpose}}"),),
        ),
        Panel(
            title="Calls beside requests", says="Made to answer them or to measure, by what for; and those without a known cost.",
            unit="cps",
            queries=(
                Query(x.rate(m.ASIDES, by=("purpose",)), "{{purpose}}"),
                Query(x.rate(m.ASIDES_UNPRICED), "unpriced"),
            ),
        ),
        Panel(
            title="Shadows", says="Requests that all tiers were to answer, by what came of it.", unit="reqps", stacked=True,
            queries=(Query(x.rate(m.ROUTE_SHADOWS, by=("outcome",)), "{{outcome}}"),),
        ),
        Panel(
            title="Tags by state", says="Of the cheap way: proven, expected, closed, alarm, off.", unit="short", stacked=True,
            queries=(Query(f"count by (state) (max by (route, tag, state) ({x.series(m.ROUTE_STATE)}) == 1)", "{{state}}"),),
        ),
        Panel(
            title="Routes in alarm", says="Tags whose labels show more loss than was expected: the last tier answers them.", unit="short",
            kind="stat", width=4, decimals=0, alarm=1,
            queries=(Query(f"count(max by (route, tag) ({alarmed}) == 1) or vector(0)"),),
        ),
        Panel(
            title="Measuring", says="Paid for shadows and judges over the range shown.", unit="currencyUSD", kind="stat", width=4,
            decimals=4, queries=(Query(over.gained(m.ASIDE_COST, 'purpose=~"shadow|judge"')),),
        ),
    )  # fmt: skip


def _health(x: Selection, over: Selection) -> tuple[Panel, ...]:
    def gauge(title: str, says: str, metric: m.Metric, alarm: float | None = None) -> Panel:
        return Panel(title=title, says=says, unit="short", queries=(Query(f"sum({x.series(metric)})"),), kind="stat", width=4, alarm=alarm)

    def counted(title: str, says: str, metric: m.Metric) -> Panel:
        return Panel(title=title, says=says, unit="short", queries=(Query(over.gained(metric)),), kind="stat", width=4, decimals=0, alarm=1)

    return (
        gauge("Stores that are up", "Controllers whose last delivery went through; model calls go on without.", m.STORE_UP),
        gauge("Journal lag", "Entries on the journal that are not in the store yet.", m.JOURNAL_LAG, 10_000),
        counted("Journal failures", "Entries that the journal could not take, such as on a full disk.", m.JOURNAL_FAILURES),
        counted("Unmetered requests", "Answered without a record: they are in no figure here.", m.UNMETERED),
        counted("Label sets folded", "Times that tags were counted as `other`, for there are too many of them.", m.DROPPED),
        counted("Traces dropped", "Requests whose spans the receiver did not take.", m.TRACES_DROPPED),
        Panel(
            title="Traces sent", says="Requests whose spans were taken.", unit="reqps", width=8,
            queries=(Query(x.rate(m.TRACES_SENT), "sent"),),
        ),
        Panel(
            title="Memory of the workers", says="Resident.", unit="bytes", width=8,
            queries=(Query(f"sum by (worker) ({x.series(m.WORKER_RSS)})", "{{worker}}"),),
        ),
        Panel(
            title="Versions", says="Which Penstock answers the scrapes.", unit="short", width=8,
            queries=(Query(f"sum by (version) ({x.series(m.BUILD)})", "{{version}}"),),
        ),
    )  # fmt: skip
