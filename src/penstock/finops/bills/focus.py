"""A bill in FOCUS: one row per charge, the parts of shared GPU-hours in the Allocated columns, every cost exactly once.

`BilledCost` and `EffectiveCost` are what the bill charges, so either column adds up to its total. `ListCost` is `ListUnitPrice` times
`PricingQuantity`, as the specification wants it: the published rate where one explains a charge, else the charge itself.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal
from urllib.parse import quote

import msgspec

from penstock.domain.bills.focus import FocusRow, header, record
from penstock.domain.bills.focus_columns import COLUMNS, Column, emitted
from penstock.domain.bills.focus_rules import violations
from penstock.domain.units import split, usd
from penstock.finops.bills.document import CACHE_READ, CACHE_WRITE, INPUT, OUTPUT, Bill, BillingError, Charge, Correction, FleetFacts
from penstock.finops.sheet import csv_text

ExportVersion = Literal["1.4", "1.2"]
CUSTOM = ("x_Line", "x_BillState", "x_Upstream", "x_Processing", "x_PriceId", "x_PriceVersion", "x_GpuHours")
BY_WORK = "penstock-gpu-hour-by-work"
METHODS = {
    "proportional": "penstock-shared-in-proportion-to-use",
    "even": "penstock-shared-evenly",
    "separate": "penstock-not-shared",
}
"""rule for idle hardware -> id of the method; with `BY_WORK` these are how a fleet's rent is split"""
OWN_SERVICE, RUN_SERVICE = "Self-hosted inference", "Recorded runs"
COMMITMENTS = {"reserved": "Reserved", "owned": "Owned hardware"}
"""how a fleet is held -> type of its commitment"""
_SIDES = {INPUT: ("Input", "Uncached"), CACHE_READ: ("Input", "Read"), CACHE_WRITE: ("Input", "Write"), OUTPUT: ("Output", None)}
_PRICE_PLACES, _RATIO_DIGITS = Decimal("0.000000000001"), 12


def focus_csv(bill: Bill, version: ExportVersion = "1.4") -> str:
    """The bill as a FOCUS Cost and Usage file. Raises `BillingError` when a row breaks a rule of that version."""
    chosen = emitted(version)
    return csv_text(header(chosen, CUSTOM), (record(row, chosen, CUSTOM) for row in focus_rows(bill, version)))


def focus_rows(bill: Bill, version: ExportVersion = "1.4") -> Iterator[FocusRow]:
    """One row per charge, then one per correction, each held against the rules of the version. Raises `BillingError`."""
    chosen, ratios = emitted(version), _ratios(bill)
    for index, charge in enumerate(bill.charges):
        yield _checked(_row(bill, charge, ratios.get(index)), version, chosen)
    for correction in bill.corrections:
        yield _checked(_correction(bill, correction), version, chosen)


def _checked(row: FocusRow, version: ExportVersion, chosen: Sequence[Column]) -> FocusRow:
    """The row without what the version has no column for."""
    fields = {column.field for column in chosen}
    told = msgspec.structs.replace(row, **{column.field: None for column in COLUMNS if column.field not in fields})
    broken = violations(told, version, chosen)
    if broken:
        raise BillingError(
            f"a row of the bill breaks FOCUS {version}: {broken[0]} ({row.charge_description})",
            "this is a fault of Penstock: please report it with `penstock bill --json`",
        )
    return told


def _ratios(bill: Bill) -> dict[int, Decimal]:
    """Index of a charge -> its share of its fleet's rent; the shares of a fleet add up to exactly 1."""
    fleets: dict[str, list[int]] = {}
    for index, charge in enumerate(bill.charges):
        if charge.fleet is not None:
            fleets.setdefault(charge.fleet, []).append(index)
    found: dict[int, Decimal] = {}
    for members in fleets.values():
        rent = [int(bill.charges[index].usd) for index in members]
        if any(rent):
            parts = split(10**_RATIO_DIGITS, rent)
            found |= {index: Decimal(part).scaleb(-_RATIO_DIGITS) for index, part in zip(members, parts, strict=True)}
    return found


def _base(bill: Bill, since: str, until: str) -> FocusRow:
    """What all rows of a bill have in common; `since` and `until` are the charge's own period."""
    return FocusRow(
        billing_account_id=_worded(bill.account),
        billing_account_name=_worded(bill.account),
        billing_currency=bill.currency,
        billing_period_start=datetime.fromisoformat(bill.since),
        billing_period_end=datetime.fromisoformat(bill.until),
        charge_period_start=datetime.fromisoformat(since),
        charge_period_end=datetime.fromisoformat(until),
        charge_category="Usage",
        invoice_id=None if bill.number is None else f"{_worded(bill.account)}-{bill.number:06d}",
        invoice_issuer_name=_worded(bill.issuer),
        service_category="AI and Machine Learning",
        service_subcategory="Generative AI",
    )


def _row(bill: Bill, charge: Charge, ratio: Decimal | None) -> FocusRow:
    quantity, unit, price = _pricing(charge)
    sku = _sku(bill, charge)
    listed = price * quantity
    row = msgspec.structs.replace(
        _placed(bill, charge, _base(bill, bill.since, bill.until)),
        billed_cost=usd(charge.usd),
        effective_cost=usd(charge.usd),
        list_cost=listed,
        contracted_cost=listed,
        list_unit_price=price,
        contracted_unit_price=price,
        pricing_category="Standard",
        pricing_quantity=quantity,
        pricing_unit=unit,
        consumed_quantity=quantity if charge.quantity is None else Decimal(charge.quantity),
        consumed_unit=charge.unit or unit,
        charge_frequency="Usage-Based",
        charge_description=_described(bill, charge),
        tags=_tags(bill, charge),
        sku_id=sku,
        sku_price_id=_sku_price(sku, charge),
        sku_meter=charge.meter,
        sku_price_details=_details(bill, charge),
        x=_custom(bill, charge),
    )
    if charge.fleet is None:
        return row
    row = _held(bill, charge, row)
    return row if ratio is None else _allocated(bill, charge, row, ratio)


def _pricing(charge: Charge) -> tuple[Decimal, str, Decimal]:
    """(PricingQuantity, PricingUnit, USD per unit): by tokens, GPU-hours or what else was counted; by the dollar where nothing was."""
    cost = usd(charge.usd)
    quantity, unit = Decimal(charge.quantity or 0), charge.unit
    if charge.gpu_hours is not None:
        quantity, unit = Decimal(charge.gpu_hours), "GPU-Hours"
    elif unit == "Tokens":
        quantity, unit = quantity.scaleb(-6), "1000000 Tokens"
    if unit is None or cost < 0 or (cost and not quantity):
        return cost, "USD", Decimal(1)
    if charge.list_price is not None:
        return quantity, unit, Decimal(charge.list_price)
    return quantity, unit, (cost / quantity).quantize(_PRICE_PLACES) if quantity else Decimal(0)


def _placed(bill: Bill, charge: Charge, row: FocusRow) -> FocusRow:
    """Who provides it, as which service, and which resource it is."""
    if charge.line == "other":
        name = _worded(charge.name)
        cost = bill.costs.get(charge.name or "")
        other = _provided(row, bill.issuer, _worded((cost and cost.service) or name))
        return msgspec.structs.replace(
            other,
            service_category="Other",
            service_subcategory="Other (Other)",
            resource_id=name,
            resource_name=name,
            resource_type="Other Cost",
        )
    if charge.line == "recorded":
        run = _provided(row, bill.issuer, RUN_SERVICE)
        name = _worded(charge.name)
        return msgspec.structs.replace(run, service_subcategory="Machine Learning", resource_id=name, resource_type="Recorded Run")
    if charge.fleet is not None:
        facts = bill.fleets.get(charge.fleet)
        region = facts.region.strip() or None if facts and facts.region else None
        own = _provided(row, bill.issuer, OWN_SERVICE)
        return msgspec.structs.replace(
            own,
            resource_id=_worded(charge.fleet),
            resource_name=_worded(charge.fleet),
            resource_type="GPU Fleet",
            region_id=region,
            region_name=region,
        )
    provider = _worded(bill.providers.get(charge.upstream or "", charge.upstream))
    model = _worded(charge.model)
    return msgspec.structs.replace(_provided(row, provider, provider), resource_id=model, resource_name=model, resource_type="Model")


def _provided(row: FocusRow, provider: str, service: str) -> FocusRow:
    name = _worded(provider)
    return msgspec.structs.replace(
        row,
        provider_name=name,
        publisher_name=name,
        service_provider_name=name,
        host_provider_name=name,
        service_name=service,
    )


def _worded(text: str | None) -> str:
    """A name for a cell that may be neither null nor blank."""
    return (text or "").strip() or "unknown"


def _sku(bill: Bill, charge: Charge) -> str:
    meter = charge.meter.lower().replace(" ", "-")
    if charge.fleet is not None:
        facts = bill.fleets.get(charge.fleet)
        hardware = _worded((facts.instance or facts.gpu) if facts else charge.fleet)
        return "/".join((hardware, *((_called(bill, charge),) if charge.model else ()), meter))
    if charge.line == "other":
        return f"{_worded(charge.name)}/{meter}"
    if charge.line != "api":
        return meter
    return f"{_worded(bill.providers.get(charge.upstream or '', charge.upstream))}/{_called(bill, charge)}/{meter}"


def _sku_price(sku: str, charge: Charge) -> str:
    """The SKU at one price: entry, its version, processing class; of own hardware the fleet that is paid for."""
    entry = charge.price_id and "@".join(filter(None, (charge.price_id, charge.price_version)))
    return ":".join(filter(None, (sku, entry, charge.processing, charge.fleet and _worded(charge.fleet))))


def _called(bill: Bill, charge: Charge) -> str:
    facts = bill.models.get(charge.model or "")
    return _worded(facts.called if facts else charge.model)


def _details(bill: Bill, charge: Charge) -> dict[str, object] | None:
    """Which model and which kind of token, by the names of the 1.5 draft with an `x_`; and which hardware."""
    found: dict[str, object] = {}
    if charge.model is not None:
        facts = bill.models.get(charge.model)
        found["x_ModelId"] = _called(bill, charge)
        if facts and facts.version:
            found["x_ModelVersion"] = facts.version
    if charge.meter in _SIDES:
        direction, action = _SIDES[charge.meter]
        found["x_TokenDirection"] = direction
        if action is not None:
            found["x_TokenCacheAction"] = action
    facts_of = bill.fleets.get(charge.fleet or "")
    if facts_of is not None:
        found |= _hardware(facts_of)
    return found or None


def _hardware(facts: FleetFacts) -> dict[str, object]:
    found: dict[str, object] = {"x_Gpu": facts.gpu}
    return found | ({"InstanceType": facts.instance} if facts.instance else {})


def _tags(bill: Bill, charge: Charge) -> dict[str, object] | None:
    return {key: value for key, value in (bill.names(charge.keys) or {}).items() if value is not None} or None


def _described(bill: Bill, charge: Charge) -> str:
    source = charge.model or charge.name or ""
    place = f" on fleet {charge.fleet}" if charge.fleet else f" by {charge.upstream}" if charge.upstream else ""
    bearer = "" if charge.keys is not None else ", shared by nobody"
    return f"{charge.meter}{f' of {source}' if source else ''}{place}{bearer}".strip()


def _custom(bill: Bill, charge: Charge) -> dict[str, str]:
    values = {
        "x_Line": charge.line,
        "x_BillState": "draft" if bill.draft else "closed",
        "x_Upstream": charge.upstream,
        "x_Processing": charge.processing,
        "x_PriceId": charge.price_id,
        "x_PriceVersion": charge.price_version,
        "x_GpuHours": charge.gpu_hours,
    }
    return {name: value for name, value in values.items() if value is not None}


def _held(bill: Bill, charge: Charge, row: FocusRow) -> FocusRow:
    """How the fleet is held: its commitment, used or not; a spot price is dynamic."""
    facts = bill.fleets.get(charge.fleet or "")
    held, unused = facts.held if facts else "", charge.line == "unused_commitment"
    if held == "spot" and not unused:
        return msgspec.structs.replace(row, pricing_category="Dynamic")
    if held not in COMMITMENTS and not unused:
        return row
    return msgspec.structs.replace(
        row,
        pricing_category="Committed",
        commitment_discount_category="Spend",
        commitment_discount_id=_worded(charge.fleet),
        commitment_discount_name=_worded(charge.fleet),
        commitment_discount_quantity=usd(charge.usd),
        commitment_discount_status="Unused" if unused else "Used",
        commitment_discount_type=COMMITMENTS.get(held, "Commitment"),
        commitment_discount_unit=bill.currency,
        consumed_quantity=None if unused else row.consumed_quantity,
        consumed_unit=None if unused else row.consumed_unit,
    )


def _allocated(bill: Bill, charge: Charge, row: FocusRow, ratio: Decimal) -> FocusRow:
    """The charge as a part of its fleet's rent, and who it is for; what nobody bears has no allocated resource."""
    element: dict[str, object] = {"AllocatedRatio": ratio}
    if charge.gpu_hours is not None:
        element |= {"UsageUnit": "GPU-Hours", "UsageQuantity": Decimal(charge.gpu_hours)}
    row = msgspec.structs.replace(
        row,
        allocated_method_id=BY_WORK if charge.line in ("gpu_work", "gpu_waste") else METHODS[bill.idle],
        allocated_method_details={"Elements": [element]},
    )
    names = bill.names(charge.keys)
    if names is None:
        return row
    known = {**{key: value for key, value in names.items() if value is not None}, **({"model": charge.model} if charge.model else {})}
    return msgspec.structs.replace(
        row,
        allocated_resource_id="/".join(f"{quote(key)}={quote(value)}" for key, value in known.items()) or "untagged",
        allocated_resource_name=_worded(" / ".join(known.values()) if known else "untagged"),
        allocated_tags=_tags(bill, charge),
    )


def _correction(bill: Bill, correction: Correction) -> FocusRow:
    """A later entry of a closed month: in this billing period, for the charge period of that month."""
    amount = usd(correction.usd)
    base = _provided(_base(bill, correction.since, correction.until), bill.issuer, "Corrections")
    return msgspec.structs.replace(
        base,
        billed_cost=amount,
        effective_cost=amount,
        list_cost=amount,
        contracted_cost=amount,
        charge_class="Correction",
        charge_frequency="One-Time",
        charge_description=f"Correction of bill {correction.number}, {correction.month}: {correction.line} {correction.name}".strip(),
        tags={key: value for key, value in (correction.keys or {}).items() if value is not None} or None,
        x={"x_Line": correction.line, "x_BillState": "draft" if bill.draft else "closed"},
    )
