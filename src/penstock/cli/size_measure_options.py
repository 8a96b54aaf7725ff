"""The options of `penstock size --measure`, and what they come to when they are read."""

import secrets
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from penstock.cli.output import WRONG_USAGE, CommandError

if TYPE_CHECKING:
    from penstock.capacity.measuring.load_test import Plan
    from penstock.capacity.measuring.stopping import Limits, Spend
    from penstock.domain.simulation.slo import Objective

PANEL = "Measure"
DURATION = "10m"
TIMEOUT = "2m"
MOST_IN_FLIGHT = 4096
MILLION = 10**6

MeasureOption = Annotated[
    str | None, typer.Option("--measure", help="Load-test this OpenAI-compatible endpoint.", metavar="URL", rich_help_panel=PANEL)
]
PointsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--points",
        help="Take measured points from this file (ours, or a CSV), or results of SageMaker Inference Recommender; repeatable.",
        metavar="FILE",
        rich_help_panel=PANEL,
    ),
]
PointsFileOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Keep the points here: JSON, or CSV by its name.", metavar="FILE", rich_help_panel=PANEL),
]
OnOption = Annotated[
    str | None, typer.Option("--on", help="GPU that the endpoint runs on; --tp of them.", metavar="GPU", rich_help_panel=PANEL)
]
UpstreamModelOption = Annotated[
    str | None,
    typer.Option(
        "--upstream-model", help="The model's name at the endpoint. [default: the only one]", metavar="NAME", rich_help_panel=PANEL
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option("--api-key-env", help="Environment variable that holds the endpoint's key.", metavar="NAME", rich_help_panel=PANEL),
]
ClimbOption = Annotated[
    str | None,
    typer.Option("--climb", help="Requests at once, load by load. [default: 1,2,4,8,16,32,64]", metavar="N,N,...", rich_help_panel=PANEL),
]
RatesOption = Annotated[
    str | None,
    typer.Option(
        "--rates", help="Instead: requests per minute, sent on time whatever comes back.", metavar="N,N,...", rich_help_panel=PANEL
    ),
]
MaxInvocationsOption = Annotated[
    float | None,
    typer.Option(
        "--max-invocations", help="Stop when so many requests a MINUTE are served.", min=0.001, metavar="N", rich_help_panel=PANEL
    ),
]
DurationOption = Annotated[str, typer.Option("--duration", help="Stop after this time.", metavar="TIME", rich_help_panel=PANEL)]
P95Option = Annotated[
    str | None, typer.Option("--p95", help="Stop when the P95 of whole answers is above this.", metavar="TIME", rich_help_panel=PANEL)
]
MaxRequestsOption = Annotated[
    int | None, typer.Option("--max-requests", help="Stop after so many requests in all.", min=1, metavar="N", rich_help_panel=PANEL)
]
MaxSpendOption = Annotated[
    str | None, typer.Option("--max-spend", help="Stop before more is spent; needs --token-price.", metavar="USD", rich_help_panel=PANEL)
]
TokenPriceOption = Annotated[
    str | None,
    typer.Option("--token-price", help="USD per million input and output tokens: `0.10,0.40`.", metavar="IN,OUT", rich_help_panel=PANEL),
]
KeepClimbingOption = Annotated[
    bool, typer.Option("--keep-climbing", help="Go on when more load brings no more throughput.", rich_help_panel=PANEL)
]
ReusePromptsOption = Annotated[
    bool, typer.Option("--reuse-prompts", help="One prompt for all requests, so that a prefix cache helps.", rich_help_panel=PANEL)
]
TimeoutOption = Annotated[
    str, typer.Option("--timeout", help="For the first token, and between two pieces.", metavar="TIME", rich_help_panel=PANEL)
]
DemandOption = Annotated[
    float | None,
    typer.Option(
        "--invocations-per-minute", help="Demand to size instances for. [default: one full replica]", min=0.001, metavar="N",
        rich_help_panel=PANEL,
    ),
]  # fmt: skip


class Wishes(NamedTuple):
    """What was asked for, as text where it is still to be read."""

    url: str | None = None
    points: tuple[Path, ...] = ()
    output: Path | None = None
    on: str | None = None
    upstream_model: str | None = None
    api_key_env: str | None = None
    climb: str | None = None
    rates: str | None = None
    max_invocations: float | None = None
    duration: str = DURATION
    p95: str | None = None
    max_requests: int | None = None
    max_spend: str | None = None
    token_price: str | None = None
    keep_climbing: bool = False
    reuse_prompts: bool = False
    timeout: str = TIMEOUT
    per_minute: float | None = None

    @property
    def measures(self) -> bool:
        """Whether anything of it was asked for."""
        return self != Wishes()


def plan_of(wishes: Wishes, input_tokens: int, output_tokens: int) -> "Plan":
    """The loads to try. Raises `CommandError` and `UnitError`."""
    from penstock.capacity.measuring.load_test import LADDER, Plan

    if wishes.climb is not None and wishes.rates is not None:
        raise CommandError("--climb and --rates are two kinds of load", "pass one of them", WRONG_USAGE)
    rates = () if wishes.rates is None else figures_of("--rates", wishes.rates)
    climb = LADDER if wishes.climb is None else tuple(int(each) for each in figures_of("--climb", wishes.climb, whole=True))
    if climb[-1] > MOST_IN_FLIGHT:
        raise CommandError(
            f"{climb[-1]:,} requests at once are more than one machine sends", f"climb to {MOST_IN_FLIGHT:,} at most", WRONG_USAGE
        )
    return Plan(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        concurrencies=() if rates else climb,
        rates_per_minute=rates,
        unique=not wishes.reuse_prompts,
        timeout_s=seconds_of("--timeout", wishes.timeout),
        seed=secrets.randbits(32),  # a second test with the words of the first would find them in the prefix cache
    )


def limits_of(wishes: Wishes) -> "Limits":
    """What ends the test. Raises `CommandError` and `UnitError`."""
    from penstock.capacity.measuring.stopping import Limits

    return Limits(
        duration_s=seconds_of("--duration", wishes.duration),
        max_invocations=wishes.max_invocations,
        p95_ms=None if wishes.p95 is None else 1000 * seconds_of("--p95", wishes.p95),
        max_requests=wishes.max_requests,
        spend=_spend(wishes),
        stop_when_flat=not wishes.keep_climbing,
    )


def objectives_of(texts: Sequence[str]) -> "tuple[Objective, ...]":
    """The objective: `ttft_p95=2s`, several by commas or repeated. Raises `CommandError`."""
    from penstock.domain.simulation.slo import SloError, parse_slo

    try:
        return parse_slo(",".join(texts)).objectives if texts else ()
    except SloError as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None


def seconds_of(option: str, text: str) -> float:
    from penstock.domain.units import Duration

    value = float(Duration.parse(text))
    if value <= 0:
        raise CommandError(f"{option} `{text}` is no time", "write it like `500ms` or `10m`", WRONG_USAGE)
    return value


def figures_of(option: str, text: str, whole: bool = False) -> tuple[float, ...]:
    """Figures above 0 that grow. Raises `CommandError`."""
    try:
        values = tuple(float(int(each)) if whole else float(each) for each in text.split(","))
    except ValueError:
        values = ()
    if not values or min(values) <= 0 or list(values) != sorted(set(values)) or values[-1] > MILLION:
        raise CommandError(f"{option} `{text}` is no list of growing figures", "write it like `1,2,4,8`", WRONG_USAGE)
    return values


def _spend(wishes: Wishes) -> "Spend | None":
    from penstock.capacity.measuring.stopping import Spend
    from penstock.domain.prices.config_price import PriceError, exact

    if wishes.max_spend is None:
        return None
    if wishes.token_price is None:
        raise CommandError("what a request costs is not known", "pass --token-price IN,OUT in USD per million tokens", WRONG_USAGE)
    parts = wishes.token_price.split(",")
    try:
        entered, made = (exact(part.strip()) / MILLION for part in parts) if len(parts) == 2 else (Fraction(0), Fraction(0))
        limit = exact(wishes.max_spend)
    except PriceError as problem:
        raise CommandError(str(problem), "write amounts of USD like `5` or `0.40`", WRONG_USAGE) from None
    if not made or not limit:
        raise CommandError("--max-spend and --token-price are amounts above 0", "write them like `5` and `0.10,0.40`", WRONG_USAGE)
    return Spend(limit, entered, made)
