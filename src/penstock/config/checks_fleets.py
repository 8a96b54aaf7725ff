"""Whether hardware can be paid as it is written: prices, MIG slices and the cards that they lie on, commitments, running times."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from fractions import Fraction

from penstock.config.fleets import holding
from penstock.config.hardware import Commitment, DatedPrice, Fleet
from penstock.config.problems import Problem, error, join, nearest, warning
from penstock.config.settings import Settings
from penstock.domain.prices.hardware import Holding, parse_amount, parse_term
from penstock.domain.prices.slices import cards_for
from penstock.domain.units import Rate, UnitError

FLEET_UNITS = ("gpu-hour", "hour", "day", "month")
PAYMENTS = ("no-upfront", "partial-upfront", "all-upfront")
COMMITMENT_KEYS = {
    "on-demand": (),
    "spot": (),
    "reserved": ("term", "payment", "upfront", "hourly", "count", "start"),
    "owned": ("capex", "years", "count", "start"),
}
"""kind -> keys of a commitment that mean something"""


def problems(settings: Settings) -> Iterator[Problem]:
    """Findings about `[fleets.*]`."""
    readable: dict[str, Holding] = {}
    for name, fleet in settings.fleets.items():
        where = join("fleets", name)
        found = list(_fleet_problems(settings, where, fleet))
        yield from found
        if not any(problem.severity == "error" for problem in found):
            readable[name] = holding(name, fleet)
    groups: dict[str, list[Holding]] = {}
    for name, held in readable.items():
        if held.mig is not None:
            groups.setdefault(f"fleet {name}" if held.card is None else f"card {held.card}", []).append(held)
    for group in groups.values():
        yield from _card_problems(group)


def rate_problems(where: str, text: str, units: Sequence[str]) -> Iterator[Problem]:
    """Whether a price over time can be read, and is per one of `units`."""
    try:
        per = Rate.parse(text).per
    except UnitError as problem:
        yield unit_error(where, problem)
        return
    if per not in units:
        yield error(where, f"a price per {per} is not known here", f"write it per {', '.join(units)}, such as `0.79 USD/{units[0]}`")


def price_problems(where: str, price: str | tuple[DatedPrice, ...] | None, units: Sequence[str]) -> Iterator[Problem]:
    """The same for a price or a dated list of prices."""
    if isinstance(price, str):
        yield from rate_problems(where, price, units)
        return
    starts = []
    for index, dated in enumerate(price or ()):
        yield from rate_problems(f"{where}[{index}].price", dated.price, units)
        try:
            starts.append(date.fromisoformat(dated.from_))
        except ValueError:
            yield error(f"{where}[{index}].from", f"`{dated.from_}` is not a day", "write it like `2026-01-01`")
    if len(set(starts)) < len(starts):
        yield error(where, "two prices start on the same day", "keep one of them")


def unit_error(where: str, problem: UnitError) -> Problem:
    text, _, hint = str(problem).partition(": ")
    return error(where, text, hint or "write it as the reference says")


def _fleet_problems(settings: Settings, where: str, fleet: Fleet) -> Iterator[Problem]:
    if fleet.upstream is not None and fleet.upstream not in settings.upstreams:
        hint = nearest(fleet.upstream, settings.upstreams, "remove it: a fleet may stand alone")
        yield error(f"{where}.upstream", f"there is no upstream `{fleet.upstream}`", hint)
    found = [*price_problems(f"{where}.price", fleet.price, FLEET_UNITS), *_mig_problems(where, fleet)]
    yield from found
    if isinstance(fleet.commitment, Commitment):
        yield from _commitment_problems(f"{where}.commitment", fleet, fleet.commitment)
    if fleet.runs is not None and not fleet.runs.strip():
        yield error(f"{where}.runs", "an empty text names no file", "name a file, or `prometheus`; or remove it: then `count` always runs")
    if fleet.runs == "prometheus" and settings.telemetry.prometheus is None:
        hint = 'set prometheus = "http://127.0.0.1:9090" in [telemetry]'
        yield error(f"{where}.runs", "no Prometheus is configured, so when it ran cannot be known", hint)


def _mig_problems(where: str, fleet: Fleet) -> Iterator[Problem]:
    if fleet.mig is None:
        for key in ("cards", "card"):
            if getattr(fleet, key) is not None:
                yield error(
                    f"{where}.{key}", "it says where slices lie, and this fleet has whole GPUs", "remove it, or name the `mig` profile"
                )
        return
    try:
        cards_for(fleet.gpu, [(fleet.mig, 1)])
    except UnitError as problem:
        yield unit_error(f"{where}.mig", problem)
    prices = (fleet.price,) if isinstance(fleet.price, str) else tuple(dated.price for dated in fleet.price or ())
    whole = {text.rpartition("/")[2].strip() == "gpu-hour" for text in prices}
    if len(whole) == 2:
        text = "a price per gpu-hour is of the whole card, one per hour is of a slice, and this list has both"
        yield error(f"{where}.price", text, "write all of them in one of the two units")


def _commitment_problems(where: str, fleet: Fleet, commitment: Commitment) -> Iterator[Problem]:
    known = COMMITMENT_KEYS[commitment.kind]
    given = [key for key in commitment.__struct_fields__ if key != "kind" and getattr(commitment, key) is not None]
    for key in given:
        if key not in known:
            hint = f"remove it; {commitment.kind} takes {', '.join(known)}" if known else f"remove it; {commitment.kind} takes no more keys"
            yield error(f"{where}.{key}", f"`{key}` means nothing for {commitment.kind} hardware", hint)
    for key in ("upfront", "hourly", "capex"):
        text = getattr(commitment, key)
        try:
            amount = None if text is None else parse_amount(text, key)
        except UnitError as problem:
            yield unit_error(f"{where}.{key}", problem)
            continue
        if key == "capex" and amount == 0:
            yield error(f"{where}.capex", "hardware that cost nothing has nothing to write off", 'write the purchase price: "30000 USD"')
    if commitment.start is not None:
        try:
            date.fromisoformat(commitment.start)
        except ValueError:
            yield error(f"{where}.start", f"`{commitment.start}` is not a day", "write it like `2026-01-01`")
    if known and not (commitment.count or fleet.count):
        yield error(f"{where}.count", "nothing is committed to: the fleet counts no units", "write how many units the commitment is for")
    if commitment.kind == "reserved":
        yield from _reservation_problems(where, commitment)
    elif commitment.kind == "owned":
        yield from _ownership_problems(where, commitment)


def _reservation_problems(where: str, commitment: Commitment) -> Iterator[Problem]:
    example = 'write { kind = "reserved", term = "1y", payment = "no-upfront", hourly = "1.90 USD" }'
    if commitment.term is None:
        yield error(where, "a reservation needs a `term`", example)
    else:
        try:
            parse_term(commitment.term)
        except UnitError as problem:
            yield unit_error(f"{where}.term", problem)
    if commitment.upfront is None and commitment.hourly is None:
        yield error(where, "a reservation needs `upfront`, `hourly` or both", example)
    if commitment.payment is None:
        return
    if commitment.payment not in PAYMENTS:
        yield error(f"{where}.payment", f"`{commitment.payment}` is not a way to pay", nearest(commitment.payment, PAYMENTS, ""))
    elif commitment.payment != "no-upfront" and commitment.upfront is None:
        yield error(f"{where}.upfront", f"`{commitment.payment}` says that something is paid at the start", "write `upfront`, per unit")
    elif commitment.payment != "all-upfront" and commitment.hourly is None:
        yield error(f"{where}.hourly", f"`{commitment.payment}` says that something is paid by the hour", "write `hourly`, per unit")
    elif commitment.payment == "no-upfront" and commitment.upfront is not None:
        yield error(f"{where}.upfront", "`no-upfront` says that nothing is paid at the start", 'remove it, or write "partial-upfront"')
    elif commitment.payment == "all-upfront" and commitment.hourly is not None:
        yield error(f"{where}.hourly", "`all-upfront` says that nothing is paid by the hour", 'remove it, or write "partial-upfront"')


def _ownership_problems(where: str, commitment: Commitment) -> Iterator[Problem]:
    if commitment.capex is None or commitment.years is None:
        yield error(where, "owned hardware needs `capex` and `years`", 'write { kind = "owned", capex = "30000 USD", years = 4 }')
        return
    if commitment.years <= 0:
        yield error(f"{where}.years", f"nothing can be written off over {commitment.years:g} years", "write a number above 0, such as 4")
    if commitment.start is None:
        text = "without a first day it is written off for ever"
        yield warning(f"{where}.start", text, 'write the day from which it is written off: start = "2026-01-01"')


def _card_problems(group: Sequence[Holding]) -> Iterator[Problem]:
    """Whether the slices of these fleets can lie on cards together. `group`: with one `card` name, or one fleet alone."""
    first, *others = group
    by_name: Mapping[str, str] = {held.name: join("fleets", held.name) for held in group}
    for held in group:
        if not held.by_card and (held.cards is not None or held.card is not None):
            key = "card" if held.card is not None else "cards"
            text = "it changes nothing: what is paid is the slice, not its card"
            yield warning(f"{by_name[held.name]}.{key}", text, "give the card's price in USD/gpu-hour, or remove it")
    for held in others:
        where = by_name[held.name]
        if held.gpu != first.gpu:
            yield error(f"{where}.card", f"`{held.card}` is a {first.gpu} for `{first.name}` and a {held.gpu} here", "one card, one GPU")
        elif held.by_card != first.by_card or (held.by_card and _card_price(held) != _card_price(first)):
            text = f"the cards `{held.card}` have another price for `{first.name}`"
            yield error(f"{where}.price", text, "write the same price, in USD/gpu-hour, for all fleets on one card")
        elif held.cards is not None and first.cards is not None and held.cards != first.cards:
            yield error(f"{where}.cards", f"`{first.name}` says that the cards `{held.card}` are {first.cards}", "write the number once")
    if any(held.gpu != first.gpu for held in others):
        return
    cards = max((held.cards for held in group if held.cards is not None), default=None)
    needed = cards_for(first.gpu, [(held.mig or "", held.count) for held in group])
    if cards is not None and needed > cards:
        where = next(by_name[held.name] for held in group if held.cards is not None)
        yield error(f"{where}.cards", f"the slices need {needed} cards", f"write {needed}, or fewer slices")


def _card_price(held: Holding) -> tuple[tuple[int, Fraction], ...]:
    return tuple((start, usd / held.share) for start, usd in held.usd_per_hour)
