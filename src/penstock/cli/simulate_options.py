"""The options of `penstock simulate`, by what they say something of."""

from pathlib import Path
from typing import Annotated

import typer

TRAFFIC, HARDWARE, FLEET, RESULT = "What is replayed", "What it is replayed on", "How the fleet is run", "What is printed and kept"

TraceArgument = Annotated[
    Path | None, typer.Argument(help="Requests to replay: Azure, Mooncake, ServeGen, BurstGPT, or plain CSV or Parquet.", metavar="[TRACE]")
]
LedgerOption = Annotated[
    str | None,
    typer.Option("--from-ledger", help="Replay the ledger: `30d`, `2026-10`, or a date.", metavar="WHEN", rich_help_panel=TRAFFIC),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(help="Only these requests of the ledger, such as `tier=large`; repeatable.", metavar="KEY=VALUE", rich_help_panel=TRAFFIC),
]
SyntheticOption = Annotated[
    str | None,
    typer.Option(
        help="Make the requests: `rps=2,swing=0.6,input=800:2400,output=200:600,hours=24` (mean, or mean:P95).",
        metavar="KEY=VALUE,...",
        rich_help_panel=TRAFFIC,
    ),
]
ExpandOption = Annotated[
    str | None,
    typer.Option(
        help="Lengths, where TRACE is a table of rates: `input=800:2400,output=200`.", metavar="KEY=VALUE,...", rich_help_panel=TRAFFIC
    ),
]
TraceFormatOption = Annotated[
    str | None,
    typer.Option("--format-of-trace", help="[default: by its columns]", metavar="NAME", rich_help_panel=TRAFFIC),
]
TimeUnitOption = Annotated[
    str | None, typer.Option(help="Unit of the arrivals: `s` or `ms`. [default: by the format]", rich_help_panel=TRAFFIC)
]
DropBadOption = Annotated[bool, typer.Option("--drop-bad", help="Leave out rows that cannot be replayed.", rich_help_panel=TRAFFIC)]
LimitOption = Annotated[
    int | None, typer.Option(help="Replay the first so many requests only.", metavar="N", min=1, rich_help_panel=TRAFFIC)
]
BlockTokensOption = Annotated[
    int, typer.Option("--block-tokens", help="Tokens of a prefix block of TRACE.", metavar="N", min=1, rich_help_panel=TRAFFIC)
]
HitRateOption = Annotated[
    str,
    typer.Option(
        "--cache-hit-rate",
        help="Share of requests that a cache answers before the fleet; `measured`: of the last 30 days of the ledger.",
        metavar="SHARE",
        rich_help_panel=TRAFFIC,
    ),
]
TierShareOption = Annotated[
    str | None,
    typer.Option(
        "--tier-share",
        help="Share of requests that the fleet's tier gets, or its name: as in the last 30 days of the ledger.",
        metavar="SHARE|TIER",
        rich_help_panel=TRAFFIC,
    ),
]

ModelOption = Annotated[
    str | None,
    typer.Option(help="A name such as `llama-3.1-8b`, or its config.json. [default: what --fleet serves]", rich_help_panel=HARDWARE),
]
GpuOption = Annotated[str | None, typer.Option(help="GPU, such as `L40S`. [default: that of --fleet]", rich_help_panel=HARDWARE)]
TpOption = Annotated[
    int | None,
    typer.Option("--tp", help="GPUs of a replica. [default: as few as hold the model]", metavar="N", min=1, rich_help_panel=HARDWARE),
]
FormatOption = Annotated[
    str | None, typer.Option(help="Format of the weights, such as `fp8`. [default: 16 bits]", rich_help_panel=HARDWARE)
]
KvOption = Annotated[str, typer.Option("--kv", help="Precision of keys and values: `bf16` or `fp8`.", rich_help_panel=HARDWARE)]
FleetOption = Annotated[
    str | None, typer.Option(help="GPU, price and count of this fleet of the config.", metavar="NAME", rich_help_panel=HARDWARE)
]
PriceOption = Annotated[
    str | None,
    typer.Option(help="Price of a whole replica. [default: the cheapest list price known]", metavar="USD", rich_help_panel=HARDWARE),
]
OfferOption = Annotated[
    str | None, typer.Option(help="Price of this provider, or `provider/instance`.", metavar="PROVIDER", rich_help_panel=HARDWARE)
]
ColdStartOption = Annotated[
    str, typer.Option(help="From the wish for a replica until it serves.", metavar="DURATION", rich_help_panel=HARDWARE)
]
SpotOption = Annotated[
    str | None,
    typer.Option(
        help="Spot machines: each is taken away once in this time, `mtbf=6h,back=10m`.", metavar="KEY=VALUE,...", rich_help_panel=HARDWARE
    ),
]
SequencesOption = Annotated[
    int, typer.Option(help="Requests that a replica works on at once (vLLM's --max-num-seqs).", min=1, max=4096, rich_help_panel=HARDWARE)
]

ReplicasOption = Annotated[
    int | None,
    typer.Option(help="A fixed fleet. [default: the smallest that keeps the SLO]", metavar="N", min=1, rich_help_panel=FLEET),
]
MinOption = Annotated[
    int | None,
    typer.Option("--min", help="Least replicas of a policy, 0 to scale to zero. [default: 1]", metavar="N", min=0, rich_help_panel=FLEET),
]
MaxOption = Annotated[
    int | None,
    typer.Option("--max", help="Most replicas. [default: twice what a fixed fleet needs]", metavar="N", min=1, rich_help_panel=FLEET),
]
PolicyOption = Annotated[
    list[str] | None,
    typer.Option("--policy", help="Scaling policy, such as `queue` or `forecast:quantile=0.95`; repeatable.", rich_help_panel=FLEET),
]
ClassOption = Annotated[
    str | None,
    typer.Option("--class", help="Kind of workload: interactive, background, nightly, webhook, scheduled.", rich_help_panel=FLEET),
]
SloOption = Annotated[
    str, typer.Option(help="What is promised, such as `ttft_p95=2s,tpot_p95=50ms`.", metavar="NAME=TIME,...", rich_help_panel=FLEET)
]
ShieldOption = Annotated[
    list[str] | None,
    typer.Option(
        "--shield", help="While no replica serves: `hold`, `cache=0.3`, `spill`, `cache+spill=0.3`; repeatable.", rich_help_panel=FLEET
    ),
]
SpillOption = Annotated[
    str | None,
    typer.Option(
        help="The API that takes spilled requests: `after=5s,ttft=500ms,tpot=20ms,input=0.15,output=0.60` (USD per million tokens).",
        metavar="KEY=VALUE,...",
        rich_help_panel=FLEET,
    ),
]
RoutingOption = Annotated[str, typer.Option(help="`least_requests`, `least_tokens`, `round_robin` or `prefix`.", rich_help_panel=FLEET)]

SeedOption = Annotated[int, typer.Option(help="The same seed gives the same run.", min=0, rich_help_panel=RESULT)]
PictureOption = Annotated[
    Path | None, typer.Option(help="Draw load, replicas, latency and cost over time.", metavar="FILE.svg|.html", rich_help_panel=RESULT)
]
NameOption = Annotated[str | None, typer.Option(help="Name of the run.", rich_help_panel=RESULT)]
KeepOption = Annotated[bool, typer.Option("--keep", help="Keep it for the console's page Simulation.", rich_help_panel=RESULT)]
