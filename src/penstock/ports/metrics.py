"""Every metric that `/metrics` shows, as data: the contract between who emits them and who draws them or alerts on them.

Beside our names stand the OpenTelemetry GenAI names, with labels and meaning.
OpenTelemetry's names (semantic conventions 1.41, status "development") are given in Prometheus form: dots become `_`,
the unit `s` becomes `_seconds`, the unit `{token}` is dropped. They may change there; here is the only place that knows.
"""

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from penstock.domain.dialects.content import normal_tag

Kind = Literal["counter", "gauge", "histogram"]

CALL = ("model", "tier", "upstream", "endpoint")
TAGGED = (*CALL, "sla")
"""fixed labels; the declared tags follow them where `tagged` says so"""
GEN_AI = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_response_model", "error_type")

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)

METERED = frozenset(("chat.completions", "completions", "embeddings", "responses", "messages"))
PASSED_THROUGH = frozenset(("images", "audio", "files", "batches", "responses", "messages", "moderations"))
"""first words of a path below /v1/; with `METERED` the values of the label `endpoint`, next to `other`: clients make paths up"""

OPERATIONS = {
    "chat.completions": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "responses": "chat",
    "messages": "chat",
}
"""our endpoint -> `gen_ai.operation.name`; other endpoints keep their own name"""


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric family. `tagged`: the declared tags are labels too. `buckets`: upper bounds of a histogram."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    tagged: bool = False
    buckets: tuple[float, ...] = ()
    otel: str | None = None
    """the name in OpenTelemetry's own spelling"""


REQUESTS = Metric(
    name="penstock_requests_total", kind="counter", labels=(*TAGGED, "outcome"), tagged=True,
    help="Requests answered by a model, the cache, or with an upstream's failure.",
)  # fmt: skip
REFUSED = Metric(
    name="penstock_refused_total", kind="counter", labels=(*TAGGED, "status"), tagged=True,
    help="Requests that Penstock refused before any model was called.",
)  # fmt: skip
TOKENS_TOTAL = Metric(
    name="penstock_tokens_total", kind="counter", labels=(*TAGGED, "token_class"), tagged=True,
    help="Tokens processed by models, in disjoint classes; answers from the cache process none.",
)  # fmt: skip
COST = Metric(
    name="penstock_cost_usd_total", kind="counter", labels=TAGGED, tagged=True,
    help="Cost of priced requests in USD. Exact figures: `penstock cost`.",
)  # fmt: skip
COUNTERFACTUAL = Metric(
    name="penstock_counterfactual_usd_total", kind="counter", labels=TAGGED, tagged=True,
    help="What the configured baseline would have cost in USD, for requests whose cost and counterfactual are both known.",
)  # fmt: skip
COMPARED_COST = Metric(
    name="penstock_compared_cost_usd_total", kind="counter", labels=TAGGED, tagged=True,
    help="Cost in USD of the requests that the counterfactual covers, and of calls beside requests: counterfactual less this is what was "
    "saved.",
)  # fmt: skip
PRICED_TOKENS = Metric(
    name="penstock_priced_tokens_total", kind="counter", labels=TAGGED, tagged=True,
    help="Tokens processed for priced requests: cost over these, times 1000, is CP1KT.",
)  # fmt: skip
WASTED = Metric(
    name="penstock_wasted_cost_usd_total", kind="counter", labels=TAGGED, tagged=True,
    help="The part of the cost in USD that went to tries which brought no answer.",
)  # fmt: skip
ESTIMATED = Metric(
    name="penstock_estimated_requests_total", kind="counter", labels=TAGGED, tagged=True,
    help="Priced requests whose cost rests on an estimate.",
)  # fmt: skip
UNPRICED = Metric(
    name="penstock_unpriced_requests_total", kind="counter", labels=TAGGED, tagged=True,
    help="Answered requests whose cost is unknown; they are in no cost figure.",
)  # fmt: skip
CACHE_ANSWERS = Metric(
    name="penstock_cache_answers_total", kind="counter", labels=(*TAGGED, "cache"), tagged=True,
    help="Answered requests by what the cache did: exact, normalised, semantic, miss, bypass.",
)  # fmt: skip
CACHE_AVOIDED = Metric(
    name="penstock_cache_avoided_usd_total", kind="counter", labels=(*TAGGED, "cache"), tagged=True,
    help="What answers from the cache would have cost in USD, by layer; of requests whose cost and counterfactual are known.",
)  # fmt: skip
CACHE_LOOKUPS = Metric(
    name="penstock_cache_lookups_total", kind="counter", labels=("verdict", "mode"),
    help="Answered requests by what the semantic cache made of them: served, probe (could be served, and was asked to measure), refused, "
    "nothing, unfit, unavailable.",
)  # fmt: skip
EMBEDDING_COST = Metric(
    name="penstock_embedding_cost_usd_total", kind="counter", labels=TAGGED, tagged=True,
    help="The part of the cost in USD that went to embeddings which looked for an answer.",
)  # fmt: skip
EMBEDDING_DURATION = Metric(
    name="penstock_embedding_duration_seconds", kind="histogram", buckets=FIRST_TOKEN_SECONDS,
    help="Time until a question was a vector, waiting for others of its batch included.",
)  # fmt: skip
ASIDES = Metric(
    name="penstock_aside_calls_total", kind="counter", labels=(*TAGGED, "purpose"), tagged=True,
    help="Calls made for requests that are not their answer, by what for: draft, vote, sample, verifier, classifier, shadow, judge.",
)  # fmt: skip
ASIDE_COST = Metric(
    name="penstock_aside_cost_usd_total", kind="counter", labels=(*TAGGED, "purpose"), tagged=True,
    help="The part of the cost in USD that went to such calls, by what for.",
)  # fmt: skip
ASIDES_UNPRICED = Metric(
    name="penstock_unpriced_aside_calls_total", kind="counter", labels=TAGGED, tagged=True,
    help="Such calls whose cost is unknown; they are in no cost figure.",
)  # fmt: skip
ATTEMPTS = Metric(
    name="penstock_upstream_attempts_total", kind="counter", labels=("upstream", "outcome"),
    help="Calls of upstream replicas, retries and fallbacks included: ok, status, connect, timeout, reset, protocol, other.",
)  # fmt: skip
FIRST_TOKEN = Metric(
    name="penstock_time_to_first_token_seconds", kind="histogram", labels=CALL, buckets=FIRST_TOKEN_SECONDS,
    help="From admission to the first token of the answer.",
)  # fmt: skip
DURATION = Metric(
    name="penstock_request_duration_seconds", kind="histogram", labels=CALL, buckets=SECONDS,
    help="From admission to the end of the answer; refused requests are left out.",
)  # fmt: skip
OTEL_TOKENS = Metric(
    name="gen_ai_client_token_usage", kind="histogram", labels=(*GEN_AI[:4], "gen_ai_token_type"), buckets=TOKENS,
    otel="gen_ai.client.token.usage",
    help="Tokens per request that a model processed; input includes cached, output includes reasoning.",
)  # fmt: skip
OTEL_DURATION = Metric(
    name="gen_ai_client_operation_duration_seconds", kind="histogram", labels=GEN_AI, buckets=SECONDS,
    otel="gen_ai.client.operation.duration", help="Duration of the operation as the client sees it.",
)  # fmt: skip
OTEL_FIRST_TOKEN = Metric(
    name="gen_ai_server_time_to_first_token_seconds", kind="histogram", labels=GEN_AI[:4], buckets=FIRST_TOKEN_SECONDS,
    otel="gen_ai.server.time_to_first_token", help="Time to the first token of the answer, measured at the gateway.",
)  # fmt: skip
ROUTE_STAGES = Metric(
    name="penstock_route_stage_total", kind="counter", labels=("route", "kind", "stratum", "kept"),
    help="Stages of requests on their way over tiers, by what the answer showed of itself and whether it was kept (yes, no).",
)  # fmt: skip
DROPPED = Metric(
    name="penstock_metric_series_dropped_total", kind="counter",
    help="Times that a record was counted under `other` because its label set would have passed the bound.",
)  # fmt: skip
BUILD = Metric(name="penstock_build_info", kind="gauge", labels=("version",), help="Always 1; the version is the label.")

FROM_RECORDS = (
    REQUESTS, REFUSED, TOKENS_TOTAL, PRICED_TOKENS, COST, WASTED, COUNTERFACTUAL, COMPARED_COST, UNPRICED, ESTIMATED, CACHE_ANSWERS,
    CACHE_AVOIDED, ASIDES, ASIDE_COST, ASIDES_UNPRICED, CACHE_LOOKUPS, EMBEDDING_COST, EMBEDDING_DURATION,
    ATTEMPTS, ROUTE_STAGES, FIRST_TOKEN, DURATION,
    OTEL_TOKENS, OTEL_DURATION, OTEL_FIRST_TOKEN, DROPPED, BUILD,
)  # fmt: skip

IN_FLIGHT = Metric(name="penstock_requests_in_flight", kind="gauge", help="Requests that are being answered now.")
OUTSTANDING = Metric(
    name="penstock_upstream_outstanding", kind="gauge", labels=("upstream", "replica"),
    help="Calls that wait for a replica or read from it.",
)  # fmt: skip
CIRCUIT_OPEN = Metric(
    name="penstock_circuit_open", kind="gauge", labels=("upstream", "replica"), help="How many workers hold the replica's circuit open."
)
JOURNAL_LAG = Metric(name="penstock_journal_lag_entries", kind="gauge", help="Journal entries that are not in the store yet.")
JOURNAL_FAILURES = Metric(
    name="penstock_journal_failures_total", kind="counter", labels=("worker",), help="Entries that the journal could not take.",
)  # fmt: skip
UNMETERED = Metric(
    name="penstock_unmetered_requests_total", kind="counter", labels=("worker",),
    help="Requests answered without a record on the journal (`journal_failure = \"serve\"`).",
)  # fmt: skip
STORE_UP = Metric(name="penstock_store_up", kind="gauge", help="1 when the last delivery to the store went through, else 0.")
WORKER_RSS = Metric(name="penstock_worker_rss_bytes", kind="gauge", labels=("worker",), help="Resident memory of a data worker.")
CACHE_ENTRIES = Metric(name="penstock_cache_entries", kind="gauge", help="Answers held by the exact cache.")
CACHE_BYTES = Metric(name="penstock_cache_bytes", kind="gauge", help="Bytes held by the exact cache.")
SEMANTIC_ENTRIES = Metric(
    name="penstock_semantic_cache_entries", kind="gauge", labels=("scope",), help="Questions whose answers the semantic cache keeps."
)
SEMANTIC_BYTES = Metric(
    name="penstock_semantic_cache_bytes", kind="gauge", help="Bytes of questions, vectors and answers that the semantic cache keeps."
)
SEMANTIC_REMOVED = Metric(
    name="penstock_semantic_cache_removed_total", kind="counter", labels=("reason",),
    help="Entries that the semantic cache let go: expired, evicted, purged, wrong, replaced.",
)  # fmt: skip
SEMANTIC_STORE_UP = Metric(
    name="penstock_semantic_cache_store_up", kind="gauge",
    help="1 while the store of the semantic cache answers every worker of the host, else 0; absent where nothing is answered by meaning.",
)  # fmt: skip
SEMANTIC_WAITING = Metric(
    name="penstock_semantic_cache_waiting", kind="gauge", help="What workers have learned that its store has not taken yet, in pieces."
)
SEMANTIC_DROPPED = Metric(
    name="penstock_semantic_cache_dropped_total", kind="counter", labels=("worker",),
    help="Lessons that the semantic cache let go: too many at once, or no room while its store was away.",
)  # fmt: skip
CACHE_WRONG = Metric(
    name="penstock_cache_wrong_ratio", kind="gauge", labels=("bound",),
    help="Wrong answers by meaning as a share of the requests that the cache looked at, as measured: estimate, and low and high of its "
    "interval; absent while nothing is measured.",
)  # fmt: skip
CACHE_EXPECTED = Metric(
    name="penstock_cache_expected_ratio", kind="gauge", labels=("bound",),
    help="Wrong answers by meaning as a share of the same requests, as the risks say at which answers were served: expected, and at_most: "
    "what the promise bounds them by in the scope where that is largest; absent while nothing is served.",
)  # fmt: skip
CACHE_PROMISED = Metric(
    name="penstock_cache_promised_ratio", kind="gauge", help="Most wrong answers that are accepted, as a share of the same requests.",
)  # fmt: skip
CACHE_ALARMS = Metric(
    name="penstock_cache_alarms", kind="gauge",
    help="Scopes in which what was measured speaks against the risks or the promise: they answer as in zero-trust.",
)  # fmt: skip
ROUTE_SHADOWS = Metric(
    name="penstock_route_shadow_total", kind="counter", labels=("route", "outcome"),
    help="Requests that all tiers were to answer, to measure what routing loses: labelled, untold (nobody could judge), failed, or skipped "
    "for want of room (busy, budget, cap).",
)  # fmt: skip
ROUTE_ERROR_BUDGET = Metric(
    name="penstock_route_error_budget", kind="gauge", labels=("route",), help="Mean loss of quality that a route accepts.",
)  # fmt: skip
ROUTE_EXPECTED_LOSS = Metric(
    name="penstock_route_expected_loss", kind="gauge", labels=("route", "tag"),
    help="Mean loss of quality against the last tier that is expected of what is open; absent while nothing is.",
)  # fmt: skip
ROUTE_STATE = Metric(
    name="penstock_route_state", kind="gauge", labels=("route", "tag", "state"),
    help="1 for the state of a tag's cheap way: proven, expected, closed, alarm, off; of at most 200 tags of a route.",
)  # fmt: skip
FLEET_RENT = Metric(
    name="penstock_fleet_rent_usd_per_hour", kind="gauge", labels=("fleet", "upstream", "gpu"),
    help="What a fleet costs per hour at its price in force now, used or idle; absent while its price is unknown.",
)  # fmt: skip
TRACES_SENT = Metric(
    name="penstock_traced_requests_total", kind="counter", help="Requests whose spans the receiver of `[telemetry] traces` has taken."
)
TRACES_DROPPED = Metric(
    name="penstock_traces_dropped_total", kind="counter",
    help="Requests whose spans were given up: the receiver was away, refused them, or was too slow.",
)  # fmt: skip

BUDGET_SPENT_USD = Metric(
    name="penstock_budget_spent_usd", kind="gauge", labels=("budget",),
    help="What a budget in USD has spent in its current period, with and without requests; absent while unknown.",
)  # fmt: skip
BUDGET_LIMIT_USD = Metric(name="penstock_budget_limit_usd", kind="gauge", labels=("budget",), help="The limit of a budget in USD.")
BUDGET_FORECAST_USD = Metric(
    name="penstock_budget_forecast_usd", kind="gauge", labels=("budget",),
    help="What a budget in USD is expected to have spent at the end of its period; absent while unknown.",
)  # fmt: skip
BUDGET_SPENT_GPU_HOURS = Metric(
    name="penstock_budget_spent_gpu_hours", kind="gauge", labels=("budget",), help="The same as in USD, of a budget in GPU-hours."
)
BUDGET_LIMIT_GPU_HOURS = Metric(
    name="penstock_budget_limit_gpu_hours", kind="gauge", labels=("budget",), help="The limit of a budget in GPU-hours."
)
BUDGET_FORECAST_GPU_HOURS = Metric(
    name="penstock_budget_forecast_gpu_hours", kind="gauge", labels=("budget",), help="The forecast of a budget in GPU-hours."
)
REFUSED_BUDGET = Metric(
    name="penstock_refused_budget_total", kind="counter", labels=("budget",), help="Requests refused because a budget's limit is reached."
)
RESERVATION_EXCEEDED = Metric(
    name="penstock_reservation_exceeded_total", kind="counter", help="Answers that cost more than was held for them; they are booked whole."
)
ALERTS_UNDELIVERED = Metric(
    name="penstock_alerts_undelivered", kind="gauge",
    help="Messages that a receiver of [notify.*] has refused so far, and those given up in the last week.",
)  # fmt: skip
BOOK_UP = Metric(
    name="penstock_book_up", kind="gauge", help="1 while the book of grants ([server] shared) answers every worker of the host, else 0."
)
QUEUE_WAITING = Metric(name="penstock_queue_waiting", kind="gauge", labels=("sla",), help="Requests that wait for a place at an upstream.")
SHED = Metric(name="penstock_shed_total", kind="counter", labels=("sla",), help="Requests answered 429 because the wait was too long.")
OBJECTIVE_BURN_RATE = Metric(
    name="penstock_objective_burn_rate", kind="gauge", labels=("objective", "window"),
    help="What an objective measures over its target, over the window; above 1 it is missed.",
)  # fmt: skip
DIRECTIVE_ACTIVE = Metric(
    name="penstock_directive_active", kind="gauge", labels=("objective", "kind"), help="1 while an objective that is missed has this done."
)
FLEET_TARGET_UNITS = Metric(
    name="penstock_fleet_target_units", kind="gauge", labels=("fleet",),
    help="GPUs (or slices) that should run of a fleet, while an objective asks to scale it down.",
)  # fmt: skip
IS_LEADER = Metric(name="penstock_is_leader", kind="gauge", help="1 where this host does what only one host does, else 0.")

FROM_PROCESSES = (
    IN_FLIGHT, OUTSTANDING, CIRCUIT_OPEN, JOURNAL_LAG, JOURNAL_FAILURES, UNMETERED, STORE_UP, WORKER_RSS, CACHE_ENTRIES, CACHE_BYTES,
    CACHE_WRONG, CACHE_EXPECTED, CACHE_PROMISED, CACHE_ALARMS,
    SEMANTIC_ENTRIES, SEMANTIC_BYTES, SEMANTIC_REMOVED, SEMANTIC_STORE_UP, SEMANTIC_WAITING, SEMANTIC_DROPPED,
    ROUTE_SHADOWS, ROUTE_ERROR_BUDGET, ROUTE_EXPECTED_LOSS, ROUTE_STATE,
    FLEET_RENT, TRACES_SENT, TRACES_DROPPED,
    BUDGET_SPENT_USD, BUDGET_LIMIT_USD, BUDGET_FORECAST_USD, BUDGET_SPENT_GPU_HOURS, BUDGET_LIMIT_GPU_HOURS, BUDGET_FORECAST_GPU_HOURS,
    REFUSED_BUDGET, RESERVATION_EXCEEDED, ALERTS_UNDELIVERED, BOOK_UP, QUEUE_WAITING, SHED, OBJECTIVE_BURN_RATE, DIRECTIVE_ACTIVE,
    FLEET_TARGET_UNITS, IS_LEADER,
)  # fmt: skip
"""what the processes report of themselves at the moment of a scrape"""


def tag_labels(declared: Sequence[str]) -> dict[str, str]:
    """Tag -> Prometheus label of every declared tag that is no fixed label anyway: legal characters only, never a name in use
    by us or by Prometheus."""
    taken = {*TAGGED, "outcome", "status", "token_class", "cache", "purpose", "le", "quantile", "job", "instance"}
    chosen: dict[str, str] = {}
    for tag in dict.fromkeys(map(normal_tag, declared)):
        if tag in TAGGED:
            continue
        label = re.sub(r"[^a-zA-Z0-9_]", "_", tag)
        while label in taken or label[:1].isdigit() or label.startswith("__"):
            label = f"tag_{label}"
        chosen[tag] = label
        taken.add(label)
    return chosen


def metrics_markdown() -> str:
    """The reference page of `/metrics`, made from the tables above."""
    lines = [
        "# Metrics",
        "",
        "`GET /metrics` answers in the Prometheus text format. *tags* stands for one label per declared tag (`[tags] declared`);",
        "a tag that is not set has an empty value. Label sets per metric are bounded (1,000 by default): beyond the bound the tag labels",
        "become `other`, counted in `penstock_metric_series_dropped_total`. Prometheus values are floating-point; exact money is in",
        "`penstock cost`. `endpoint` is one of " + ", ".join(f"`{name}`" for name in sorted(METERED | PASSED_THROUGH)) + ", or `other`.",
        "Counters start at zero when the controller starts.",
        "",
        *_table("From the ledger", tuple(metric for metric in FROM_RECORDS if metric.otel is None)),
        *_table("OpenTelemetry GenAI names", tuple(metric for metric in FROM_RECORDS if metric.otel is not None)),
        *_table("From the processes", FROM_PROCESSES),
        "Buckets (upper bounds):",
        "",
        *(f"- `{metric.name}`: {', '.join(f'{bound:g}' for bound in metric.buckets)}" for metric in FROM_RECORDS if metric.buckets),
    ]
    return "\n".join(lines) + "\n"


def _table(title: str, metrics: tuple[Metric, ...]) -> list[str]:
    rows = [f"## {title}", "", "| Metric | Kind | Labels | Meaning |", "| --- | --- | --- | --- |"]
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels) + (", *tags*" if metric.tagged else "")
        name = f"`{metric.name}`" + (f" (`{metric.otel}`)" if metric.otel else "")
        rows.append(f"| {name} | {metric.kind} | {labels or '-'} | {metric.help} |")
    return [*rows, ""]
