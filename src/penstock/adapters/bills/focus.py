"""FOCUS files, 1.0 to 1.4, laid on `FocusRow`: the fast path, since nothing has to be converted."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any

from penstock.adapters.bills.cells import Column, Style, TextColumn, chosen_from, column, read_currency, read_text
from penstock.adapters.bills.formats import plain, reader_of
from penstock.domain.bills import focus_columns
from penstock.domain.bills.focus import FocusRow
from penstock.domain.bills.focus_columns import COLUMNS

NAME, WORD = "FOCUS", "focus"
NEEDED = ("BilledCost", "EffectiveCost", "ChargePeriodStart")
CURRENCIES = ("BillingCurrency", "PricingCurrency")
_SIGNS = {
    "1.4": ("InvoiceDetailId", "CommitmentProgramEligibilityDetails"),
    "1.3": ("AllocatedMethodId", "ServiceProviderName", "HostProviderName", "ContractApplied"),
    "1.2": ("InvoiceId", "BillingAccountType", "SubAccountType", "PricingCurrency"),
    "1.1": ("SkuMeter", "SkuPriceDetails", "ServiceSubcategory", "CommitmentDiscountQuantity", "CapacityReservationId"),
}
_KNOWN = {plain(column.name): column for column in COLUMNS}


def known(name: str) -> bool:
    """Whether that is the name of a FOCUS column."""
    return plain(name) in _KNOWN


def is_focus(header: Sequence[str]) -> bool:
    """Whether a header is that of a FOCUS file: a cost of FOCUS, and at least one more column that only FOCUS has."""
    names = {plain(name) for name in header}
    return bool(names & {"billedcost", "effectivecost"}) and bool(names & {"chargeperiodstart", "billingperiodstart", "chargecategory"})


def version(header: Sequence[str]) -> str:
    """The oldest version that has all of the columns."""
    names = {plain(name) for name in header}
    return next((version for version, signs in _SIGNS.items() if names & {plain(sign) for sign in signs}), "1.0")


class FocusShape:
    """The columns of FOCUS in one header; as `formats.Shape`."""

    def __init__(self, header: Sequence[str], style: Style) -> None:
        places: dict[str, int] = {}
        for at, name in enumerate(header):
            places.setdefault(plain(name), at)
        found = [(each, places[key]) for key, each in _KNOWN.items() if key in places]
        self.columns = [_cells(each, style) for each, _ in found]
        self.positions = [at for _, at in found]
        self._customs = [(name, at) for at, name in enumerate(header) if name.lower().startswith("x_")]
        for name, at in self._customs:
            self.columns.append(TextColumn(name, read_text))
            self.positions.append(at)
        self.left_out = [name for at, name in enumerate(header) if at not in self.positions]
        self.renamed = [(header[at], each.name) for each, at in found if header[at] != each.name]
        self._order = {each.name: at for at, (each, _) in enumerate(found)}
        self._names = [name for name, _ in self._customs]
        self.amount_column = "BilledCost" if "BilledCost" in self._order else "EffectiveCost"
        self.arrange(range(len(self.columns)))

    def arrange(self, order: Sequence[int]) -> None:
        """Says in which order the values of `columns` will come."""
        place = {column: at for at, column in enumerate(order)}
        places = {name: place[at] for name, at in self._order.items()}
        width = len(self.columns)
        # `rows` appends a null, for columns that the file does not have, and the custom columns
        self._fields: Callable[[list[Any]], tuple[Any, ...]] = itemgetter(*(places.get(each.name, width) for each in COLUMNS), width + 1)
        self._custom_places = [(name, place[at]) for at, name in enumerate(self._names, len(self._order))]
        self._amount = places.get(self.amount_column)
        self._currency = places.get("BillingCurrency")

    def rows(self, values: list[Any]) -> Sequence[FocusRow]:
        """The one charge of a row."""
        customs = None
        if self._names:
            customs = {name: values[at] for name, at in self._custom_places if values[at] is not None} or None
        values.append(None)
        values.append(customs)
        return (FocusRow(*self._fields(values)),)

    def amount(self, values: list[Any]) -> tuple[Decimal | None, str | None]:
        """BilledCost, else EffectiveCost, and the currency."""
        return (
            None if self._amount is None else values[self._amount],
            None if self._currency is None else values[self._currency],
        )


def _cells(known: focus_columns.Column, style: Style) -> Column:
    if known.name in CURRENCIES:
        return column(known.name, known.kind, read_currency, style)
    read = chosen_from(known.allowed) if known.allowed and known.kind == "text" else reader_of(known.kind, style)
    return column(known.name, known.kind, read, style, needed=known.name in NEEDED)
