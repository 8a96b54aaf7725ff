"""The settings, shaped as the file: each struct is a table of penstock.toml, each `doc` its key's line in the reference.

`Duration`, `Size` and `Rate` are read from text with units; secrets are only ever `{ env = "NAME" }`.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from penstock.domain.units import Duration, Rate, Size


def doc(text: str) -> Meta:
    """What a key means: shown in the reference, and by editors through the JSON Schema."""
    return Meta(description=text)


Fraction01 = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[int, Meta(ge=1)]
Condition = Annotated[str, Meta(pattern=r"^\s*(<=|>=|<|>)\s*[0-9.]+\s*$")]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every table: frozen, unknown keys are errors."""


class Secret(Table, frozen=True):
    """A secret by the name of the environment variable that holds it."""

    env: Annotated[str, doc("Name of the environment variable that holds the secret.")]


class Server(Table, frozen=True):
    """Where Penstock listens, and where it keeps what it learns."""

    listen: Annotated[str, doc("Address of the gateway, `host:port`; `[::1]:4100` for IPv6.")] = "127.0.0.1:4100"
    workers: Annotated[Positive, doc("Data-plane processes that share the port; a controller process runs beside them.")] = 1
    store: Annotated[
        str,
        doc("Where the ledger is kept: `sqlite:///penstock.db`, or `postgresql://...` when several hosts share one ledger."),
    ] = "sqlite:///penstock.db"
    shared: Annotated[
        str,
        doc("Where budgets, limits and caches are shared: `local://` is all workers of this host; `redis://...` all hosts."),
    ] = "local://"
    journal: Annotated[str, doc("Directory of the append-only journal, written before a client sees the end of an answer.")] = "./journal"
    fsync: Annotated[
        Literal["never", "batch", "always"],
        doc("When the journal is forced to disk: `never` (left to the system), `batch` (every 200 ms), `always` (before the answer ends)."),
    ] = "batch"
    journal_failure: Annotated[
        Literal["refuse", "serve"],
        doc("What to do while the journal cannot be written (disk full): `refuse` requests, or `serve` them without a record."),
    ] = "refuse"
    unpriced: Annotated[
        Literal["refuse", "flag"],
        doc("What to do with a model that has no price: `refuse` its requests, or `flag` them as unpriced. It never counts as 0."),
    ] = "flag"
    baseline: Annotated[
        str | None,
        doc("Tier whose model the counterfactual prices every request on; unset: the model that answered, without cache."),
    ] = None
    max_body: Annotated[Size, doc("Largest request body.")] = Size(10_000_000)
    max_answer: Annotated[Size, doc("Largest answer of an upstream that is read whole.")] = Size(64_000_000)
    max_in_flight: Annotated[Positive, doc("Requests that one worker has in flight at once; further ones are answered 429.")] = 1024
    timezone: Annotated[str, doc("Zone of calendar days and months in reports and budgets, as in the IANA database.")] = "UTC"
    prices: Annotated[str | None, doc("TOML file of your own dated prices; they go before the public price book.")] = None


class Auth(Table, frozen=True):
    """Who may call."""

    required: Annotated[
        bool,
        doc("Every call needs a key made by `penstock keys create` (`Authorization: Bearer`, or `x-api-key`)."),
    ] = False
    admin_key: Annotated[
        Secret | None,
        doc(
            "Key of the console: the password that a browser asks for (any user name), or `Authorization: Bearer`. Without it the console "
            "is open to this machine while `listen` is loopback, and closed otherwise. `/metrics` needs no key."
        ),
    ] = None


class Tags(Table, frozen=True):
    """Which tags mean something here."""

    declared: Annotated[
        tuple[str, ...],
        doc("Tags that mean something here. Others are kept on the record, but are no labels of metrics."),
    ] = ("team", "feature", "user", "environment", "cost_center", "business_unit", "workload_type", "sla")
    required: Annotated[tuple[str, ...], doc("Tags that every request must carry.")] = ()
    allowed: Annotated[dict[str, tuple[str, ...]], doc("The values that a tag may take; a tag that is not listed may take any.")] = {}


class Timeouts(Table, frozen=True):
    """How long each stage of an upstream call may take."""

    connect: Annotated[Duration, doc("To have a connection, TLS included.")] = Duration(2)
    first_token: Annotated[Duration, doc("From the request being sent to the first byte of a streamed answer.")] = Duration(60)
    idle: Annotated[Duration, doc("Between two pieces of an answer.")] = Duration(30)
    answer: Annotated[Duration | None, doc("To a whole answer that is not streamed; by default five times `first_token`.")] = None


class Upstream(Table, frozen=True):
    """Something that answers model calls: one or more replicas of one engine or API."""

    kind: Annotated[
        Literal["openai", "anthropic", "simulated"],
        doc(
            "`openai`: any OpenAI-compatible engine or API (vLLM, llama.cpp, Ollama, OpenAI ...); `anthropic`: Anthropic's API, or "
            "what serves `/v1/messages` as it does; `simulated`: a built-in engine."
        ),
    ] = "openai"
    base_urls: Annotated[tuple[str, ...], doc("Address of each replica, up to and including `/v1`.")] = ()
    speaks: Annotated[
        Literal["auto"] | tuple[Literal["chat", "responses", "messages"], ...],
        doc(
            "Which of `/v1/chat/completions` (`chat`), `/v1/responses` and `/v1/messages` it answers by itself; calls in another one are "
            "translated. `auto`: `anthropic` speaks messages, `simulated` all three; `openai` speaks chat, and responses until it says "
            "that it knows no such address. vLLM and llama.cpp can be given all three."
        ),
    ] = "auto"
    timeout: Annotated[Timeouts, doc("How long each stage of a call may take.")] = Timeouts()
    stream_usage: Annotated[
        Literal["auto", "off"],
        doc("`auto` asks streams for their usage; `off` for engines that refuse `stream_options`."),
    ] = "auto"
    provider: Annotated[
        str | None,
        doc("Provider in the public price book. Only an upstream with a provider, or at a well-known API host, is priced from it."),
    ] = None
    api_key: Annotated[Secret | None, doc("Key that this upstream is called with. Keys of clients are never forwarded.")] = None
    retries: Annotated[Annotated[int, Meta(ge=0, le=10)], doc("Further tries after a failure that may pass, on other replicas first.")] = 2
    ca_file: Annotated[str | None, doc("PEM file of certificate authorities to trust for this upstream.")] = None
    simulated: Annotated[dict[str, Any], doc("Options of the simulated engine.")] = {}


class DatedPrice(Table, frozen=True):
    """A price that holds from a date on."""

    from_: Annotated[str, doc("Day from which the price holds, `2026-01-01`, UTC.")] = msgspec.field(name="from")
    price: Annotated[Rate, doc("The price from that day on, such as `0.79 USD/gpu-hour`.")]


class Commitment(Table, frozen=True):
    """How fleet hardware is held."""

    kind: Annotated[Literal["on-demand", "spot", "reserved", "owned"], doc("`on-demand`, `spot`, `reserved`, or `owned`.")]
    term: Annotated[str | None, doc("Length of a reservation, such as `1y`.")] = None
    payment: Annotated[str | None, doc("How a reservation is paid, such as `partial-upfront`.")] = None
    upfront: Annotated[str | None, doc("What is paid at the start, in USD.")] = None
    hourly: Annotated[str | None, doc("What is paid per hour, in USD.")] = None
    capex: Annotated[str | None, doc("Purchase price of owned hardware, in USD.")] = None
    years: Annotated[float | None, doc("Years over which owned hardware is written off.")] = None


class Place(Table, frozen=True):
    """Where a fleet runs."""

    instance: Annotated[str | None, doc("Instance type, such as `g6e.xlarge`.")] = None
    region: Annotated[str | None, doc("Region or site.")] = None
    environment: Annotated[str | None, doc("Environment, such as `production`.")] = None


class Fleet(Table, frozen=True):
    """Rented or owned hardware; behind an upstream, or none (training)."""

    gpu: Annotated[str, doc("GPU model, such as `L40S`.")]
    upstream: Annotated[str | None, doc("Upstream that this hardware serves; none for training.")] = None
    mig: Annotated[str | None, doc("MIG profile, when a slice of the GPU is rented.")] = None
    count: Annotated[Annotated[int, Meta(ge=0)], doc("GPUs (or slices) in the fleet.")] = 1
    runs: Annotated[str | None, doc("What says when the fleet ran: `prometheus`, or a file of intervals; for fleets that scale.")] = None
    price: Annotated[
        str | tuple[DatedPrice, ...] | None,
        doc("Price of one GPU, such as `0.79 USD/gpu-hour`, or a dated list of prices."),
    ] = None
    planned_tokens_per_second: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        doc("Output tokens per second that the whole fleet is planned to do: what a request costs until its hour is allocated."),
    ] = None
    commitment: Annotated[Commitment | Literal["on-demand", "spot"], doc("How the hardware is held.")] = "on-demand"
    where: Annotated[Place, doc("Where it runs.")] = Place()


class OtherCost(Table, frozen=True):
    """A cost that is neither tokens nor GPU-hours."""

    price: Annotated[Rate, doc("The cost, such as `12 USD/month`.")]
    share: Annotated[dict[str, str], doc("Spread over the requests that match, on its own line in every report.")] = {}


class TokenPrice(Table, frozen=True):
    """USD per million tokens."""

    input: Annotated[float | str, doc("Input tokens.")]
    output: Annotated[float | str | None, doc("Output tokens.")] = None
    cached_input: Annotated[float | str | None, doc("Input tokens read from the engine's prompt cache; unset: as `input`.")] = None
    cache_write: Annotated[float | str | None, doc("Input tokens written to the prompt cache; unset: as `input`.")] = None
    reasoning: Annotated[float | str | None, doc("Reasoning tokens; unset: as `output`.")] = None


class Model(Table, frozen=True):
    """A model by the name that clients use."""

    upstream: Annotated[str, doc("Upstream that answers for this model.")]
    name: Annotated[str | None, doc("What the upstream calls the model; unset: as here.")] = None
    version: Annotated[str | None, doc("Version, kept on every record.")] = None
    optimization: Annotated[str | None, doc("Optimisation level, such as `int4`, kept on every record.")] = None
    context: Annotated[Positive | None, doc("Context window in tokens: bounds the input of a reservation.")] = None
    max_output: Annotated[Positive | None, doc("Most output tokens: bounds a reservation when the client gives no `max_tokens`.")] = None
    price: Annotated[TokenPrice | None, doc("Own price in USD per million tokens; goes before every other price.")] = None


class Tier(Table, frozen=True):
    """A quality and price class of models."""

    model: Annotated[str, doc("Model of this tier.")]
    complexity: Annotated[Condition | None, doc("Complexity scores (0 to 1) that the tier takes, such as `> 0.7`; unset: the rest.")] = None


class Route(Table, frozen=True):
    """A name that clients may ask for instead of a model."""

    strategy: Annotated[
        Literal["fixed", "by_complexity", "cascade", "gate", "learned"],
        doc("How a tier is chosen: `fixed` takes the first, `by_complexity` goes by the request; the others are not built yet."),
    ] = "fixed"
    tiers: Annotated[tuple[str, ...], doc("Tiers to choose from, cheap to dear.")] = ()
    fallback: Annotated[tuple[str, ...], doc("Tiers or models to try when the chosen one fails.")] = ()
    cache: Annotated[Literal["on", "off"], doc("`off`: answers of this route are neither stored nor replayed.")] = "on"


class Rule(Table, frozen=True):
    """A hard constraint: calls with these tags may reach only these upstreams."""

    where: Annotated[dict[str, str], doc("Tags that a request must carry for the rule to hold.")]
    only: Annotated[tuple[str, ...], doc("Upstreams that may then see it.")]


class ExactCache(Table, frozen=True):
    """Answers replayed for the very same request."""

    enabled: Annotated[bool, doc("Whether this layer is on.")] = True
    ttl: Annotated[Duration, doc("How long an answer may be replayed.")] = Duration(86400)
    max_bytes: Annotated[Size, doc("Memory of this layer, all workers together.")] = Size(64_000_000)


class SemanticCache(Table, frozen=True):
    """Answers replayed for requests that mean the same."""

    enabled: Annotated[bool, doc("Whether this layer is on (not built yet).")] = False
    max_error: Annotated[Fraction01, doc("Wrong answers that are accepted, as a share of requests.")] = 0.005
    embedder: Annotated[str, doc("Embedder that compares requests.")] = "minilm"


class Cache(Table, frozen=True):
    """The layers of the cache and their partition."""

    scope: Annotated[
        tuple[str, ...],
        doc("Partition of every layer: `tenant` (the key's tenant tag, else the key), or declared tags."),
    ] = ("tenant",)
    exact: Annotated[ExactCache, doc("Replays answers for the very same request.")] = ExactCache()
    semantic: Annotated[SemanticCache, doc("Replays answers for requests that mean the same.")] = SemanticCache()


class Alert(Table, frozen=True):
    """One mark of a budget and who hears of it."""

    at: Annotated[float | Literal["forecast"], doc("Percent of the limit, or `forecast`.")]
    notify: Annotated[tuple[str, ...], doc("Who hears of this mark.")] = ()


class Budget(Table, frozen=True):
    """A limit on spend over a period."""

    name: Annotated[str, doc("Name in reports and refusals.")]
    limit: Annotated[str, doc("The limit: `2500 USD / month`, `50 USD / rolling 24h`, `400 gpu-hours / month`.")]
    where: Annotated[dict[str, str], doc("Tags of the requests that count; none: all.")] = {}
    at_limit: Annotated[
        Literal["alert", "downgrade", "queue", "refuse"],
        doc("What happens at the limit: only `alert`, `downgrade` to a cheaper tier, `queue`, or `refuse`."),
    ] = "alert"
    fail: Annotated[Literal["closed", "open"], doc("While the shared store is away, the cap stays `closed` or `open`.")] = "closed"
    max_wait: Annotated[Duration, doc("Longest wait of `queue`.")] = Duration(30)
    alert_at: Annotated[
        tuple[float | Literal["forecast"] | Alert, ...],
        doc("Marks in percent of the limit, or `forecast`; or tables with their own `notify`."),
    ] = ()
    notify: Annotated[tuple[str, ...], doc("Who hears of the marks: names of `[notify.*]`.")] = ()


class Slo(Table, frozen=True):
    """An objective that acts when it is missed."""

    metric: Annotated[Literal["cp1kt"], doc("What is measured.")]
    target: Annotated[str, doc("What is promised, such as `<= 0.0040 USD`.")]
    window: Annotated[Duration, doc("Over which time.")]
    where: Annotated[dict[str, str], doc("Tags or derived tags of the requests that count.")] = {}
    respond: Annotated[tuple[str, ...], doc("What is done when it is missed: `shift_traffic:<tier>`, `notify:<name>`.")] = ()


class Notify(Table, frozen=True):
    """Where messages go."""

    kind: Annotated[Literal["webhook"], doc("How the message is sent.")]
    url: Annotated[Secret | str, doc("Where it is sent.")]


class Telemetry(Table, frozen=True):
    """What is told to other observability systems, beside `/metrics`."""

    traces: Annotated[
        str | None,
        doc("OTLP/HTTP address that gets a span per request, such as `http://127.0.0.1:4318`; needs the extra `otel`."),
    ] = None
    headers: Annotated[
        dict[str, Secret | str],
        doc('Headers sent with the spans: texts, or secrets as `{ env = "NAME" }`.'),
    ] = {}


class Settings(Table, frozen=True):
    """The whole of penstock.toml."""

    version: Annotated[Literal[1], doc("Version of this format.")]
    server: Annotated[Server, doc("Where Penstock listens, and where it keeps what it learns.")] = Server()
    auth: Annotated[Auth, doc("Who may call.")] = Auth()
    tags: Annotated[Tags, doc("Which tags mean something here.")] = Tags()
    upstreams: Annotated[dict[str, Upstream], doc("What answers model calls.")] = {}
    fleets: Annotated[dict[str, Fleet], doc("Rented or owned hardware.")] = {}
    costs: Annotated[dict[str, OtherCost], doc("Costs that are neither tokens nor GPU-hours.")] = {}
    models: Annotated[dict[str, Model], doc("Models by the names that clients use.")] = {}
    tiers: Annotated[dict[str, Tier], doc("Quality and price classes of models, cheap to dear.")] = {}
    routes: Annotated[dict[str, Route], doc("Names that clients may ask for instead of a model.")] = {}
    rules: Annotated[tuple[Rule, ...], doc("Hard constraints on where a request may go.")] = ()
    cache: Annotated[Cache, doc("The layers of the cache.")] = Cache()
    budgets: Annotated[tuple[Budget, ...], doc("Limits on spend.")] = ()
    slos: Annotated[tuple[Slo, ...], doc("Objectives that act when they are missed.")] = ()
    notify: Annotated[dict[str, Notify], doc("Where messages go.")] = {}
    telemetry: Annotated[Telemetry, doc("What is told to other observability systems.")] = Telemetry()
