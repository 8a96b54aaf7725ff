"""The settings, shaped as the file: each struct is a table of penstock.toml, each `doc` its key's line in the reference.

`Duration`, `Size` and `Rate` are read from text with units; secrets are only ever `{ env = "NAME" }`.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta

from penstock.config.caching import Cache
from penstock.config.hardware import Fleet, OtherCost
from penstock.config.routing import Check, Feature, Route, Rule, Tier
from penstock.config.spending import Budget, Notify, Queue, RateLimit, Slo
from penstock.config.tables import Positive, Secret, Table, doc
from penstock.domain.units import Duration, Size


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
    max_in_flight: Annotated[
        Positive,
        doc("Requests that one worker has in flight at once; more are answered 429, `best_effort` from 80 % on, `standard` from 95 %."),
    ] = 1024
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
            "is open to this machine while `listen` is loopback, and closed otherwise."
        ),
    ] = None
    metrics_key: Annotated[
        Secret | None,
        doc("Key of `/metrics` alone, for scrapers (`Authorization: Bearer`); the admin key opens it too."),
    ] = None
    metrics: Annotated[
        Literal["auto", "open"],
        doc(
            "`auto`: `/metrics` is open while `listen` is loopback and no `metrics_key` is set, else it needs a key; `open`: it never does."
        ),
    ] = "auto"


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
    max_concurrent: Annotated[
        Positive | None,
        doc("Calls that this host has under way there at once; more wait, the most urgent `sla` first (see `[queue]`). Unset: no bound."),
    ] = None
    retries: Annotated[Annotated[int, Meta(ge=0, le=10)], doc("Further tries after a failure that may pass, on other replicas first.")] = 2
    ca_file: Annotated[str | None, doc("PEM file of certificate authorities to trust for this upstream.")] = None
    simulated: Annotated[dict[str, Any], doc("Options of the simulated engine.")] = {}


class TokenRates(Table, frozen=True):
    """USD per million tokens, of tools per 1,000 calls. What is unset among the parts has no rate of its own and counts as its class."""

    input: Annotated[float | str, doc("Input tokens.")]
    output: Annotated[float | str | None, doc("Output tokens.")] = None
    cached_input: Annotated[float | str | None, doc("Input tokens read from the engine's prompt cache; unset: as `input`.")] = None
    cache_write: Annotated[float | str | None, doc("Input tokens written to the prompt cache; unset: as `input`.")] = None
    reasoning: Annotated[float | str | None, doc("Reasoning tokens; unset: as `output`.")] = None
    cache_write_1h: Annotated[float | str | None, doc("Input tokens written to a prompt cache that lasts an hour.")] = None
    input_audio: Annotated[float | str | None, doc("Audio tokens of the input.")] = None
    input_image: Annotated[float | str | None, doc("Image tokens of the input.")] = None
    input_video: Annotated[float | str | None, doc("Video tokens of the input.")] = None
    cached_input_audio: Annotated[float | str | None, doc("Audio tokens read from the prompt cache.")] = None
    cached_input_image: Annotated[float | str | None, doc("Image tokens read from the prompt cache.")] = None
    cached_input_video: Annotated[float | str | None, doc("Video tokens read from the prompt cache.")] = None
    output_audio: Annotated[float | str | None, doc("Audio tokens of the output.")] = None
    output_image: Annotated[float | str | None, doc("Image tokens of the output.")] = None
    output_video: Annotated[float | str | None, doc("Video tokens of the output.")] = None
    web_search: Annotated[float | str | None, doc("USD per 1,000 searches of the web.")] = None
    file_search: Annotated[float | str | None, doc("USD per 1,000 searches of uploaded files.")] = None
    code_run: Annotated[float | str | None, doc("USD per 1,000 runs of code at the provider.")] = None
    tool_call: Annotated[float | str | None, doc("USD per 1,000 calls of other tools of the provider.")] = None
    citation: Annotated[float | str | None, doc("Citation tokens that are billed beside input and output.")] = None
    request: Annotated[float | str | None, doc("Fee of every call, in USD per 1,000.")] = None


class TokenPrice(TokenRates, frozen=True):
    """USD per million tokens, of tools per 1,000 calls."""

    processing: Annotated[
        dict[str, TokenRates],
        doc(
            "Prices of processing classes: `batch`, `flex`, `priority` ... A class without one is unpriced, unless the upstream has no "
            "provider: own engines know no classes."
        ),
    ] = {}


class Model(Table, frozen=True):
    """A model by the name that clients use."""

    upstream: Annotated[str, doc("Upstream that answers for this model.")]
    name: Annotated[str | None, doc("What the upstream calls the model; unset: as here.")] = None
    version: Annotated[str | None, doc("Version, kept on every record.")] = None
    optimization: Annotated[str | None, doc("Optimisation level, such as `int4`, kept on every record.")] = None
    context: Annotated[Positive | None, doc("Context window in tokens: bounds the input of a reservation.")] = None
    max_output: Annotated[Positive | None, doc("Most output tokens: bounds a reservation when the client gives no `max_tokens`.")] = None
    price: Annotated[TokenPrice | None, doc("Own price in USD per million tokens; goes before every other price.")] = None


class Telemetry(Table, frozen=True):
    """What is told to other observability systems, beside `/metrics`, and where the GPUs' own meters are read."""

    prometheus: Annotated[
        str | None,
        doc("Address of a Prometheus (or what speaks its API) that scrapes the engines and DCGM, such as `http://127.0.0.1:9090`."),
    ] = None
    prometheus_headers: Annotated[
        dict[str, Secret | str],
        doc('Headers of the queries: texts, or secrets as `{ env = "NAME" }`.'),
    ] = {}

    traces: Annotated[
        str | None,
        doc("OTLP/HTTP address that gets a span per request, such as `http://127.0.0.1:4318`; needs the extra `otel`."),
    ] = None
    headers: Annotated[
        dict[str, Secret | str],
        doc('Headers sent with the spans: texts, or secrets as `{ env = "NAME" }`.'),
    ] = {}


class Bill(Table, frozen=True):
    """How a month is billed on to teams."""

    by: Annotated[tuple[str, ...], doc("Keys that a bill is split by: tags, `model`, `sla` ...")] = ("team", "feature", "cost_center")
    idle: Annotated[
        Literal["separate", "proportional", "even"],
        doc(
            "Who pays what stands idle (and unused or unallocated): nobody, on a line of its own (`separate`); those who used the fleet, "
            "`proportional` to their use; or all who used it `even`ly."
        ),
    ] = "separate"
    issuer: Annotated[str, doc("Who issues the bill: `InvoiceIssuerName` in FOCUS.")] = "Penstock"
    account: Annotated[str, doc("Account that is billed: `BillingAccountId` in FOCUS.")] = "penstock"


class Objective(Table, frozen=True):
    """How fast answers should be; what counts as met in latency per dollar."""

    first_token: Annotated[Duration | None, doc("To the first token of a streamed answer.")] = None
    duration: Annotated[Duration | None, doc("To the end of an answer.")] = None


class Archive(Table, frozen=True):
    """Where old records go, as Parquet; needs the extra `archive`."""

    url: Annotated[str | None, doc("Directory, or `s3://bucket/prefix`; unset: everything stays in the store.")] = None
    after: Annotated[Duration, doc("Age from which whole days of records are sealed.")] = Duration(90 * 86400)


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
    checks: Annotated[dict[str, Check], doc("Tests that answers of cheap tiers must pass.")] = {}
    features: Annotated[dict[str, Feature], doc("What features are worth, and how much they bear.")] = {}
    rules: Annotated[tuple[Rule, ...], doc("Hard constraints on where a request may go.")] = ()
    cache: Annotated[Cache, doc("The layers of the cache.")] = Cache()
    budgets: Annotated[tuple[Budget, ...], doc("Limits on spend.")] = ()
    limits: Annotated[tuple[RateLimit, ...], doc("Limits on how fast calls may come.")] = ()
    queue: Annotated[Queue, doc("Who waits how long for a place at a busy upstream.")] = Queue()
    slos: Annotated[tuple[Slo, ...], doc("Objectives that act when they are missed.")] = ()
    notify: Annotated[dict[str, Notify], doc("Where messages go.")] = {}
    telemetry: Annotated[Telemetry, doc("What is told to other observability systems, and where meters are read.")] = Telemetry()
    bill: Annotated[Bill, doc("How a month is billed on to teams.")] = Bill()
    objectives: Annotated[dict[str, Objective], doc("How fast answers should be, by `sla`; `default` for those without one.")] = {}
    archive: Annotated[Archive, doc("Where old records go, as Parquet.")] = Archive()
