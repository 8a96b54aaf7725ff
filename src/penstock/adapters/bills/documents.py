"""Bills in JSON: AWS Cost Explorer (`GetCostAndUsage`) and OpenCost allocation as FOCUS rows; JSON lines as rows of other formats.

Numbers are read as decimals, never as binary floats.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from penstock.adapters.bills.cells import CellError, Style, decimals, read_currency, times
from penstock.adapters.bills.formats import custom, total
from penstock.domain.bills.focus import FocusRow

LARGEST = 256 << 20
"""characters of one JSON document, which is held whole"""
_DECIMAL, _TIME = decimals(Style()), times(Style(plain_dates=True))
PARTS = {
    "cpuCost": ("CPU", "cpuCoreHours", "Core Hours"),
    "gpuCost": ("GPU", "gpuHours", "GPU Hours"),
    "ramCost": ("Memory", "ramByteHours", "Byte Hours"),
    "pvCost": ("Persistent Volumes", "pvByteHours", "Byte Hours"),
    "networkCost": ("Network", "networkTransferBytes", "Bytes"),
    "loadBalancerCost": ("Load Balancer", None, None),
    "sharedCost": ("Shared", None, None),
    "externalCost": ("External", None, None),
}
"""component of an OpenCost allocation -> its meter, the field of its quantity and the unit"""
Found = tuple[int, list[FocusRow] | str]
"""position of a row, and its charges; or why it was refused"""


def parsed(text: str) -> Any:
    """JSON with exact numbers. Raises `ValueError`."""
    return json.loads(text, parse_float=Decimal)


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Objects in objects as dotted names; lists as JSON text, so that every cell is a plain value."""
    cells: dict[str, Any] = {}
    for key, each in value.items():
        if isinstance(each, Mapping) and not (prefix == "" and key.lower() in ("tags", "labels", "skupricedetails")):
            cells |= flat(each, f"{prefix}{key}.")
        elif isinstance(each, list | Mapping):
            cells[f"{prefix}{key}"] = json.dumps(each, default=str)
        else:
            cells[f"{prefix}{key}"] = each
    return cells


def is_cost_explorer(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("ResultsByTime"), list)


def is_pages(document: Any) -> bool:
    """Whether it is a list of nothing but answers of Cost Explorer."""
    return isinstance(document, list) and bool(document) and all(map(is_cost_explorer, document))


def pages_missing(pages: Sequence[Mapping[str, Any]]) -> str:
    """What the last page says of a page that follows; empty when it is the last one."""
    return "NextPageToken names a page that is not here (put all pages into one JSON list)" if pages[-1].get("NextPageToken") else ""


def estimates(pages: Sequence[Mapping[str, Any]]) -> str:
    """How many periods AWS has not billed for good; empty when it has all."""
    periods = [period for page in pages for period in page["ResultsByTime"] if isinstance(period, Mapping)]
    estimated = sum(1 for period in periods if period.get("Estimated"))
    return f"{estimated:,} of {len(periods):,} periods are estimates of AWS, which will still change" if estimated else ""


def is_opencost(document: Any) -> bool:
    """An answer of `/allocation`: `data` holds one object of allocations by name per step of time."""
    if not isinstance(document, dict) or not isinstance(document.get("data"), list):
        return False
    allocations = [each for step in document["data"] if isinstance(step, dict) for each in step.values() if isinstance(each, dict)]
    return any("totalCost" in each or "cpuCost" in each for each in allocations)


def cost_explorer(pages: Sequence[Mapping[str, Any]]) -> Iterator[Found]:
    """One charge per group (or total) and period. UnblendedCost is billed, AmortizedCost effective; either stands in for the other."""
    position = 0
    for page in pages:
        keys = [str(each.get("Key", "")) for each in page.get("GroupDefinitions") or ()]
        for period, group in _groups(page):
            position += 1
            try:
                yield position, [_explored(period, group, keys)]
            except (CellError, KeyError, TypeError, AttributeError) as problem:
                yield position, f"a group that cannot be read ({problem})"


def _groups(page: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """(period, group) of a page, the total of a period that has no groups; what is no period comes with None."""
    for period in page["ResultsByTime"]:
        groups: Any = None
        if isinstance(period, Mapping):
            groups = period.get("Groups") or ([{"Keys": [], "Metrics": period["Total"]}] if period.get("Total") else [])
        yield from ((period, group) for group in (groups if isinstance(groups, list) else [None]))


def _explored(period: Mapping[str, Any], group: Mapping[str, Any], keys: Sequence[str]) -> FocusRow:
    by = dict(zip(keys, (str(value) for value in group["Keys"]), strict=False))
    metrics: Mapping[str, Mapping[str, str]] = group["Metrics"]
    billed = next((metrics[name] for name in ("UnblendedCost", "NetUnblendedCost", "BlendedCost") if name in metrics), None)
    effective = next((metrics[name] for name in ("AmortizedCost", "NetAmortizedCost") if name in metrics), None)
    cost, amortised = _amount(billed), _amount(effective)
    if cost is None and amortised is None:
        raise CellError("it has no cost")
    start, end = _TIME(period["TimePeriod"]["Start"])[0], _TIME(period["TimePeriod"]["End"])[0]
    quantity = _amount(metrics.get("UsageQuantity"))
    kind = by.get("RECORD_TYPE", "Usage")
    category = {"Tax": "Tax", "Credit": "Credit", "Refund": "Credit", "Recurring": "Purchase", "Upfront": "Purchase"}.get(kind, "Usage")
    return FocusRow(
        billed_cost=cost if cost is not None else amortised,
        effective_cost=amortised if amortised is not None else cost,
        billing_currency=read_currency((billed or effective or {}).get("Unit"))[0],
        charge_period_start=start,
        charge_period_end=end,
        charge_category=category,
        consumed_quantity=quantity,
        consumed_unit=(metrics.get("UsageQuantity") or {}).get("Unit") if quantity is not None else None,
        service_provider_name="AWS",
        host_provider_name="AWS",
        invoice_issuer_name="AWS",
        service_name=by.get("SERVICE"),
        region_id=by.get("REGION"),
        sub_account_id=by.get("LINKED_ACCOUNT"),
        sku_meter=by.get("USAGE_TYPE"),
        sku_price_details={"InstanceType": by["INSTANCE_TYPE"]} if by.get("INSTANCE_TYPE") else None,
        tags={key: value.partition("$")[2] for key, value in by.items() if "$" in value} or None,
        x=custom(Estimated="true" if period.get("Estimated") else None, RecordType=by.get("RECORD_TYPE")),
    )


def _amount(metric: Mapping[str, str] | None) -> Decimal | None:
    value: Decimal | None = None if metric is None else _DECIMAL(metric["Amount"])[0]
    return value


def opencost(document: Mapping[str, Any]) -> Iterator[Found]:
    """One charge per part of an allocation (CPU, GPU, memory ...), and one for what its totalCost has beyond them."""
    position = 0
    for step in document["data"]:
        for name, allocation in (step or {}).items():
            position += 1
            try:
                yield position, list(_allocated(str(name), allocation))
            except (CellError, KeyError, TypeError, ValueError, AttributeError) as problem:
                yield position, f"an allocation that cannot be read ({problem})"


def _allocated(name: str, allocation: Mapping[str, Any]) -> Iterator[FocusRow]:
    window = allocation.get("window") or {}
    start, end = _when(allocation.get("start") or window.get("start")), _when(allocation.get("end") or window.get("end"))
    properties: Mapping[str, Any] = allocation.get("properties") or {}
    known: list[Decimal] = []
    for key, (meter, quantity, unit) in PARTS.items():
        cost = total((_read(allocation.get(key)), _read(allocation.get(f"{key}Adjustment"))))
        if cost is None or (not cost and key != "gpuCost"):
            continue
        known.append(-cost)
        count = _read(allocation.get(quantity)) if quantity else None
        yield _part(name, properties, start, end, meter, cost, count, unit)
    rest = total((_read(allocation.get("totalCost")), *known)) if "totalCost" in allocation else None
    # OpenCost adds up in binary floats: what is below a nano-dollar is their noise, and still a charge, for nothing is lost
    if rest:
        yield _part(name, properties, start, end, "Other", rest, None, None)


def _part(
    name: str,
    properties: Mapping[str, Any],
    start: datetime | None,
    end: datetime | None,
    meter: str,
    cost: Decimal,
    quantity: Decimal | None,
    unit: str | None,
) -> FocusRow:
    labels = properties.get("labels")
    return FocusRow(
        billed_cost=cost,
        effective_cost=cost,
        billing_currency="USD",
        charge_period_start=start,
        charge_period_end=end,
        charge_category="Usage",
        consumed_quantity=quantity,
        consumed_unit=None if quantity is None else unit,
        service_provider_name="OpenCost",
        service_name="Kubernetes",
        service_category="Compute",
        sku_meter=meter,
        resource_id=name,
        resource_name=properties.get("controller") or name,
        sub_account_id=properties.get("namespace"),
        tags=dict(labels) if isinstance(labels, Mapping) and labels else None,
        x=custom(
            Cluster=properties.get("cluster"), Node=properties.get("node"), Pod=properties.get("pod"), Container=properties.get("container")
        ),
    )


def _read(value: Any) -> Decimal | None:
    found: Decimal | None = _DECIMAL(value)[0]
    return found


def _when(value: Any) -> datetime | None:
    if isinstance(value, int | Decimal):
        return datetime.fromtimestamp(int(value), UTC)
    moment: datetime | None = _TIME(value)[0]
    return moment
