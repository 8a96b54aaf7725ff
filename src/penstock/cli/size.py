"""`penstock size`: which hardware holds a model, what remains for its requests, how fast it answers, and what that costs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from penstock.cli.options import CAPACITY, JsonOption, QuietOption
from penstock.cli.output import FINE, INCOMPLETE, PROBLEMS_FOUND, WRONG_USAGE, CommandError, print_json
from penstock.cli.prices_source import OptionalConfig
from penstock.cli.size_measure_options import (
    DURATION,
    TIMEOUT,
    ClimbOption,
    DemandOption,
    DurationOption,
    KeepClimbingOption,
    KeyOption,
    MaxInvocationsOption,
    MaxRequestsOption,
    MaxSpendOption,
    MeasureOption,
    OnOption,
    P95Option,
    PointsFileOption,
    PointsOption,
    RatesOption,
    ReusePromptsOption,
    TimeoutOption,
    TokenPriceOption,
    UpstreamModelOption,
    Wishes,
)
from penstock.cli.size_prices import PriceOption, own_offers

if TYPE_CHECKING:
    from penstock.domain.sizing.architecture import Architecture
    from penstock.domain.sizing.candidates import Candidate, Demand
    from penstock.domain.sizing.latency.deployment import Workload
    from penstock.domain.sizing.remedies import Question

CONTEXT, REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS = 8192, 8, 1024, 256
AS_PATHS = ("/", "./", "../", "~")
"""how MODEL begins where it can be no model's name"""
KvPrecision = Literal["bf16", "fp8"]


ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Name such as `llama-3.1-70b`, or a Hugging Face config.json, or its directory.")
]
FormatOption = Annotated[
    list[str] | None,
    typer.Option("--format", help="Of the weights: bf16, fp8, int8, int4, nvfp4, mxfp4, ...; repeatable. [default: the usual ones]"),
]
GpuOption = Annotated[list[str] | None, typer.Option("--gpu", help="Only this accelerator; repeatable. [default: all known]")]
TpOption = Annotated[int | None, typer.Option("--tp", help="GPUs of one replica. [default: as few as hold it]", min=1, max=64)]
ContextOption = Annotated[
    int | None, typer.Option(help=f"Tokens of the longest request, prompt and answer. [default: {CONTEXT}]", min=2, metavar="TOKENS")
]
ConcurrencyOption = Annotated[int, typer.Option(help="Requests that one replica holds at once.", min=1, metavar="N")]
KvOption = Annotated[KvPrecision, typer.Option("--kv", help="Precision of keys and values.")]
UtilisationOption = Annotated[
    float, typer.Option("--gpu-memory-utilization", help="Share of the memory that the engine may use.", min=0.05, max=1.0)
]
InputOption = Annotated[
    int | None, typer.Option(help=f"Mean prompt, for the latency. [default: {INPUT_TOKENS}, less in a short context]", min=1, metavar="N")
]
OutputOption = Annotated[
    int | None, typer.Option(help=f"Mean answer, for the latency. [default: {OUTPUT_TOKENS}, less in a short context]", min=1, metavar="N")
]
EngineOption = Annotated[str, typer.Option(help="`vllm`, `sglang` or `trtllm`, for the latency.")]
SloOption = Annotated[
    list[str] | None, typer.Option(help="Objective such as `ttft_p95=2s` or `tpot_p95=50ms`; repeatable.", metavar="MEASURE=LIMIT")
]
OffersOption = Annotated[bool, typer.Option("--offers", help="List the known offers of the hardware that holds it.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every number of GPUs and every slice, and why the others do not hold it.")]
USUAL: Mapping[str | None, tuple[str, ...]] = {
    None: ("bf16", "fp16", "fp8", "int4"), "fp8": ("fp8", "nvfp4", "int4"), "int4": ("int4", "nvfp4"), "mxfp4": ("mxfp4",),
}  # fmt: skip
"""formats that are shown unless others are asked for, by the one that the weights are published in"""


class Model(NamedTuple):
    """What MODEL names."""

    architecture: "Architecture"
    stored: str | None
    """the format that its weights are published in, where not 16 bits"""
    family: "tuple[Architecture, ...]"
    source: str


class Shown(NamedTuple):
    """What is printed of what was found."""

    usual_formats: bool
    """no format was asked for"""
    lacking: bool
    """what does not hold it too"""
    every: bool
    offers: bool
    json: bool
    quiet: bool


def register(app: typer.Typer) -> None:
    app.command("size", rich_help_panel=CAPACITY)(size)


def size(
    model: ModelArgument,
    format: FormatOption = None,
    gpu: GpuOption = None,
    tp: TpOption = None,
    context: ContextOption = None,
    concurrency: ConcurrencyOption = REQUESTS,
    kv: KvOption = "bf16",
    utilisation: UtilisationOption = 0.9,
    input_tokens: InputOption = None,
    output_tokens: OutputOption = None,
    engine: EngineOption = "vllm",
    slo: SloOption = None,
    usd_per_gpu_hour: PriceOption = None,
    offers: OffersOption = False,
    every: AllOption = False,
    measure: MeasureOption = None,
    points: PointsOption = None,
    output: PointsFileOption = None,
    on: OnOption = None,
    upstream_model: UpstreamModelOption = None,
    api_key_env: KeyOption = None,
    climb: ClimbOption = None,
    rates: RatesOption = None,
    max_invocations: MaxInvocationsOption = None,
    duration: DurationOption = DURATION,
    p95: P95Option = None,
    max_requests: MaxRequestsOption = None,
    max_spend: MaxSpendOption = None,
    token_price: TokenPriceOption = None,
    keep_climbing: KeepClimbingOption = False,
    reuse_prompts: ReusePromptsOption = False,
    timeout: TimeoutOption = TIMEOUT,
    invocations_per_minute: DemandOption = None,
    config: OptionalConfig = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Show which GPUs, how many of them, and which MIG slices hold a model, and what they cost.

    Memory is weights in their format, embeddings at 16 bits, keys and values of the requests, and the engine's reserve. Latency is
    predicted with the range in which four of five measurements lie. Exit 3 where nothing holds it, with what would change that, or where
    nothing keeps the objective, with the nearest.
    """
    known = model_of(model)
    wishes = Wishes(
        measure, tuple(points or ()), output, on, upstream_model, api_key_env, climb, rates, max_invocations, duration, p95, max_requests,
        max_spend, token_price, keep_climbing, reuse_prompts, timeout, invocations_per_minute,
    )  # fmt: skip
    if format is None and wishes.measures:
        format = [known.stored or "bf16"]
    longest, workload = _lengths(known, context, input_tokens, output_tokens, concurrency)
    question = _question(known, format, gpu, _demand(longest, concurrency, kv, utilisation, tp), config, usd_per_gpu_hour)
    shown = Shown(usual_formats=format is None, lacking=every or gpu is not None, every=every, offers=offers, json=json, quiet=quiet)
    if wishes.measures:
        from penstock.cli.size_measure import recommend

        return recommend(wishes, question, workload, engine, tp, slo or (), shown)
    return _show(question, known.source, workload, engine, slo or (), shown)


def _show(question: "Question", source: str, workload: "Workload", engine: str, slo: Sequence[str], shown: Shown) -> int:
    """Finds, predicts, ranks and prints; returns the exit code."""
    from penstock.cli.size_latency import limits_of, predictor
    from penstock.cli.size_table import document, narrate, print_rows
    from penstock.domain.sizing.candidates import candidates
    from penstock.domain.sizing.ranking import best_of_each, nearest, ranked
    from penstock.domain.sizing.remedies import remedies

    q, limits = question, limits_of(slo)
    found = candidates(q.architecture, q.formats, q.devices, q.slices, q.offers, q.demand, shown.every)
    if limits and not shown.every:
        more = candidates(q.architecture, q.formats, q.devices, q.slices, q.offers, q.demand, every=True)
        found = [each for each in more if each.holds] + [each for each in found if not each.holds]
    if not any(each.holds for each in found):
        shown = shown._replace(lacking=True)
    kept = [each for each in found if _is_shown(each, shown)]
    predict = predictor(engine, limits, shown.quiet)
    every = ranked(kept, q.architecture, workload, engine, q.demand.kv_bits, limits, predict)
    rows, missed = every if shown.every else best_of_each(every), nearest(every, workload, limits)
    holding = any(row.candidate.holds for row in rows)
    changes = () if holding else remedies(q)
    if shown.json:
        print_json(document(q, source, workload, engine, rows, changes, missed, shown.offers))
    else:
        print_rows(rows, q, limits, shown.offers, shown.every)
        narrate(q, workload, rows, changes, missed, limits, shown.quiet)
    if not holding or missed is not None:
        return PROBLEMS_FOUND
    return INCOMPLETE if limits and predict is None else FINE


def model_of(name: str) -> Model:
    """The model that a name, a config.json or a directory with one tells of. Raises `CommandError`."""
    from penstock.adapters.feeds.catalogue import architectures, find_architecture
    from penstock.domain.sizing.accelerators import UnknownNameError

    path = Path(name).expanduser()
    if not name.strip():
        raise CommandError("no model is named", "pass a name such as llama-3.1-8b, or the path of a config.json", WRONG_USAGE)
    if path.suffix == ".json" or path.is_dir():
        return _read(path / "config.json" if path.is_dir() else path)
    if name.startswith(AS_PATHS):
        kind = "no config.json, and no directory with one" if path.exists() else "no such file or directory"
        raise CommandError(f"{name}: {kind}", "give the config.json of a Hugging Face model, or its directory", WRONG_USAGE)
    try:
        found = find_architecture(name)
    except UnknownNameError as problem:
        hint = "a config.json of Hugging Face does as well: `penstock size DIR/config.json`"
        raise CommandError(str(problem), hint, WRONG_USAGE) from None
    family = tuple(each for each in architectures().values() if each.family == found.family and each.name != found.name)
    return Model(found, found.stored, family, f"{found.source}, {found.date}")


def _read(path: Path) -> Model:
    import msgspec

    from penstock.domain.sizing.hf_config import ArchitectureError, from_hf_config, stored_format

    try:
        config = msgspec.json.decode(path.read_bytes(), type=dict[str, object])
        name = path.resolve().parent.name if path.name == "config.json" else path.stem
        return Model(from_hf_config(config, name), stored_format(config), (), str(path))
    except msgspec.MsgspecError as problem:
        raise CommandError(f"{path}: not a JSON object: {problem}", "give the config.json of a Hugging Face model", WRONG_USAGE) from None
    except ArchitectureError as problem:
        raise CommandError(str(problem), "give the config.json of a decoder-only language model", WRONG_USAGE) from None


def _lengths(
    model: Model, context: int | None, input_tokens: int | None, output_tokens: int | None, concurrency: int
) -> "tuple[int, Workload]":
    """Tokens of the longest request, and of the mean one; what is not given is such that it fits. Raises `CommandError`."""
    from penstock.domain.sizing.latency.deployment import Workload

    most = model.architecture.max_context
    if context is None:
        mean = (input_tokens or INPUT_TOKENS) + (output_tokens or OUTPUT_TOKENS) if input_tokens or output_tokens else 0
        context = max(mean, min(CONTEXT, most or CONTEXT))
    if most is not None and context > most:
        raise CommandError(
            f"{model.architecture.name} has a context of {most:,} tokens, not {context:,}",
            f"pass --context {most}; where RoPE scaling lengthens it, a config.json with that `max_position_embeddings`", WRONG_USAGE,
        )  # fmt: skip
    entered = input_tokens or max(1, min(INPUT_TOKENS, context * 3 // 4, context - (output_tokens or 1)))
    made = output_tokens or max(1, min(OUTPUT_TOKENS, context - entered))
    if entered + made > context:
        raise CommandError(
            f"a mean request of {entered:,} + {made:,} tokens is longer than the longest, {context:,}",
            "pass a longer --context, or less by --input-tokens and --output-tokens", WRONG_USAGE,
        )  # fmt: skip
    return context, Workload(input_tokens=entered, output_tokens=made, concurrency=concurrency)


def _demand(context: int, concurrency: int, kv: KvPrecision, utilisation: float, tp: int | None) -> "Demand":
    from penstock.domain.sizing.candidates import Demand

    return Demand(context=context, requests=concurrency, kv_bits=8 if kv == "fp8" else 16, utilisation=utilisation, tp=tp)


def _question(
    model: Model, formats: Sequence[str] | None, gpus: Sequence[str] | None, demand: "Demand", config: Path | None, usd: str | None
) -> "Question":
    """All that was asked, with the catalogue and today's offers, or the user's own price. Raises `CommandError`."""
    from penstock.adapters.feeds.catalogue import accelerators, mig_slices
    from penstock.cli.prices_gpus import known_offers
    from penstock.cli.prices_source import configured
    from penstock.domain.sizing.accelerators import UnknownNameError, find
    from penstock.domain.sizing.formats import find_format
    from penstock.domain.sizing.remedies import Question

    known = accelerators()
    try:
        devices = {each.name: each for each in (known if gpus is None else [find(name, known) for name in gpus])}
        asked = {each.name: each for each in map(find_format, formats or USUAL.get(model.stored, USUAL[None]))}
    except UnknownNameError as problem:
        raise CommandError(str(problem), "names may leave out what is clear: `H100`, `awq`", WRONG_USAGE) from None
    offers = tuple(known_offers(configured(config))) if usd is None else own_offers(usd, known, demand.tp)
    return Question(
        architecture=model.architecture, formats=tuple(asked.values()), devices=tuple(devices.values()), known=known,
        slices=mig_slices(), offers=offers, demand=demand, family=model.family,
    )  # fmt: skip


def _is_shown(found: "Candidate", shown: Shown) -> bool:
    """Whether a row says something: of the formats that nobody asked for, only those that the device has kernels for."""
    if shown.usual_formats and (found.fit is None or (found.format.name == "fp16" and "bf16" in found.accelerator.flops)):
        return False
    return found.holds or shown.lacking
