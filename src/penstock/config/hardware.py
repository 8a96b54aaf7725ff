"""`[fleets.*]` and `[costs.*]`: what is rented or owned, how it is held and paid, and what is neither tokens nor GPU-hours."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from penstock.config.tables import Positive, Table, doc
from penstock.domain.units import Rate


class DatedPrice(Table, frozen=True):
    """A price that holds from a date on."""

    from_: Annotated[str, doc("Day from which the price holds, `2026-01-01`, UTC.")] = msgspec.field(name="from")
    price: Annotated[Rate, doc("The price from that day on, such as `0.79 USD/gpu-hour`.")]


class Commitment(Table, frozen=True):
    """How fleet hardware is held."""

    kind: Annotated[Literal["on-demand", "spot", "reserved", "owned"], doc("`on-demand`, `spot`, `reserved`, or `owned`.")]
    term: Annotated[str | None, doc("Length of a reservation, such as `1y`.")] = None
    payment: Annotated[str | None, doc("How a reservation is paid, such as `partial-upfront`.")] = None
    upfront: Annotated[str | None, doc("What is paid at the start per unit (GPU or slice), in USD; spread evenly over the term.")] = None
    hourly: Annotated[str | None, doc("What is paid per hour and unit (GPU or slice) of a reservation, in USD.")] = None
    count: Annotated[Annotated[int, Meta(ge=1)] | None, doc("Units that are committed to; unset: the fleet's `count`.")] = None
    start: Annotated[str | None, doc("First day of the term or of the amortisation, `2026-01-01`, UTC; unset: it has always held.")] = None
    capex: Annotated[str | None, doc("Purchase price of one unit (GPU or slice) of owned hardware, in USD.")] = None
    years: Annotated[float | None, doc("Years over which owned hardware is written off.")] = None


class Place(Table, frozen=True):
    """Where a fleet runs."""

    instance: Annotated[str | None, doc("Instance type, such as `g6e.xlarge`.")] = None
    region: Annotated[str | None, doc("Region or site.")] = None
    environment: Annotated[str | None, doc("Environment, such as `production`.")] = None


class FleetMetrics(Table, frozen=True):
    """PromQL of a fleet, where the standard queries do not fit. `$fleet`, `$instance` ... are not replaced: write whole expressions."""

    replicas: Annotated[str | None, doc("Running units. Unset: `count(DCGM_FI_DEV_GPU_TEMP)` within `match`, else `count(up == 1)`.")] = (
        None
    )
    active: Annotated[str | None, doc("Share of the time in which each GPU worked, 0 to 1. Unset: `DCGM_FI_PROF_GR_ENGINE_ACTIVE`.")] = None
    power: Annotated[str | None, doc("Watts of each GPU. Unset: `DCGM_FI_DEV_POWER_USAGE`.")] = None
    prefill: Annotated[str | None, doc("Counter of prefill seconds. Unset: `vllm:request_prefill_time_seconds_sum`.")] = None
    decode: Annotated[str | None, doc("Counter of decode seconds. Unset: `vllm:request_decode_time_seconds_sum`.")] = None


class Fleet(Table, frozen=True):
    """Rented or owned hardware; behind an upstream, or none (training)."""

    gpu: Annotated[str, doc("GPU model, such as `L40S`.")]
    upstream: Annotated[str | None, doc("Upstream that this hardware serves; none for training.")] = None
    mig: Annotated[str | None, doc("MIG profile, when a slice of the GPU is rented.")] = None
    count: Annotated[Annotated[int, Meta(ge=0)], doc("GPUs (or slices) in the fleet.")] = 1
    runs: Annotated[
        str | None,
        doc(
            "What says when how many units ran, for fleets that scale: `prometheus`, a CSV file of intervals (`start,end,count`), or a "
            "bill (FOCUS, CUR, Azure, GCP) whose rows carry `where.instance`."
        ),
    ] = None
    cards: Annotated[Positive | None, doc("Whole GPUs that hold the slices; unset: as few as can hold them.")] = None
    card: Annotated[
        str | None,
        doc("Name of the whole GPUs on which slices of several fleets lie; fleets with the same one share its unallocated rest."),
    ] = None
    match: Annotated[dict[str, str], doc('Labels of its series in Prometheus, such as `{ Hostname = "gpu-1" }`.')] = {}
    metrics: Annotated[FleetMetrics, doc("Its own PromQL, where the standard queries do not fit.")] = FleetMetrics()
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

    price: Annotated[
        str | tuple[DatedPrice, ...],
        doc("The cost, such as `12 USD/month` (a calendar month), or a dated list of prices."),
    ]
    share: Annotated[dict[str, str], doc("Spread over the requests that match, on its own line in every report.")] = {}
    by: Annotated[
        Literal["tokens", "requests", "cost"],
        doc("What it is spread by: `tokens` processed, `requests` answered, or the `cost` of their own."),
    ] = "tokens"
    service: Annotated[str | None, doc("What bills call it; for `penstock reconcile`.")] = None
