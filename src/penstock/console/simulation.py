"""Simulation: replayed traffic on hardware that is not rented yet, run by run: the newest whole, older ones by their address."""

from collections.abc import Sequence

import msgspec
from markupsafe import Markup

from penstock.capacity.simulation_report import Best, Row, SimulationReport, find, kept
from penstock.console import simulated, words
from penstock.console.context import Context, NotHere, Sheet, View
from penstock.console.query import Address

EXAMPLE = "llama-3.1-8b"
"""a model that the catalogue knows"""
COLUMNS = (
    "policy", "shield", "requests", "served", "cached", "spilled", "refused", "unfinished", "first_token_p50_s", "first_token_p95_s",
    "first_token_p99_s", "per_token_p95_s", "whole_p95_s", "output_tokens_per_s", "mean_replicas", "peak_replicas", "reversals",
    "reversals_per_hour", "attainment", "meets", "cost_usd", "cp1kt_usd", "oracle_usd", "over_oracle", "binds", "light", "advice",
)  # fmt: skip


class RunLine(msgspec.Struct, frozen=True, kw_only=True):
    """A run in the list of runs."""

    id: str
    at_ns: int
    name: str
    trace: str
    requests: int
    slo: str | None
    cheapest: str | None
    """the policy that keeps the SLO for least"""
    cost_usd: str | None


class SimulationView(View, frozen=True, kw_only=True):
    """The page: one run, and all that are kept."""

    run: SimulationReport | None
    runs: tuple[RunLine, ...]
    suggested_model: str
    """for the form: the model and the GPU of the config's first fleet whose model the catalogue knows; else an example"""
    suggested_gpu: str | None


def build(context: Context, address: Address) -> SimulationView:
    """The newest run. Raises `StoreError`."""
    runs = kept(context.papers.documents)
    return _view(context, address, runs[0] if runs else None, runs)


def build_one(context: Context, address: Address) -> SimulationView:
    """The run that the address names. Raises `NotHere`, `StoreError`."""
    id = address.path.rpartition("/")[2]
    run = find(context.papers.documents, id)
    if run is None:
        raise NotHere(f"there is no simulation {id[:60]}", "the newest ones are at /simulation; older ones are not kept")
    return _view(context, address, run, kept(context.papers.documents))


def _view(context: Context, address: Address, run: SimulationReport | None, runs: Sequence[SimulationReport]) -> SimulationView:
    model, gpu = _suggested(context)
    return SimulationView(
        suggested_model=model,
        suggested_gpu=gpu,
        answer=answer(run),
        standing=context.standing(context.report(address.query()).coverage),
        run=run,
        runs=tuple(map(_line, runs)),
    )


def _suggested(context: Context) -> tuple[str, str | None]:
    settings, known = context.settings, context.papers.catalogued
    fleets = [fleet for fleet in settings.fleets.values() if fleet.upstream is not None]
    for fleet in fleets:
        for name, model in settings.models.items():
            if model.upstream == fleet.upstream and (meant := known(model.name or name) or known(name)):
                return meant, fleet.gpu
    return EXAMPLE, fleets[0].gpu if fleets else None


def _line(run: SimulationReport) -> RunLine:
    best = run.cheapest
    return RunLine(
        id=run.id, at_ns=run.at_ns, name=run.name, trace=run.trace, requests=run.requests, slo=run.slo,
        cheapest=None if best is None else best.name, cost_usd=None if best is None else best.cost_usd,
    )  # fmt: skip


def answer(run: SimulationReport | None) -> str:
    """Which policy keeps the promise for least, or how near the best comes."""
    if run is None:
        return "Nothing has been simulated yet."
    best = run.cheapest
    if best is not None:
        over = "" if best.over_oracle is None else f", {words.times(best.over_oracle)} times what a perfect scaler would pay"
        promise = f" keeps {run.slo} for least" if run.slo else " costs least"
        return f"{words.quoted(best.name)}{promise}: {words.usd(best.cost_usd)} for {words.seconds(run.duration_s)} of this traffic{over}."
    fit = [row for row in run.rows if row.meets is not False]
    if fit:
        one = len(fit) == 1
        kept_it = f" {'keeps' if one else 'keep'} {run.slo}" if run.slo else f" {'was' if one else 'were'} run"
        return f"{words.join([words.quoted(row.name) for row in fit[:3]])}{kept_it}; what {'it costs' if one else 'they cost'} is unknown."
    return f"None of these policies keeps {run.slo}. {best_words(run.best)}".rstrip()


def best_words(best: Best | None) -> str:
    """How near this hardware comes to the SLO, however much of it there is."""
    if best is None:
        return ""
    reached = f"{words.plural(best.replicas, 'replica')}: first token P95 {words.seconds(best.first_token_p95_s)}"
    if best.meets:
        return f"A fixed fleet of {reached}, which keeps it."
    return f"The best that was reached is {reached}, with {best.binds} in the way: {best.hint}."


def sheet(view: SimulationView, address: Address) -> Sheet:
    """The policies of the run, one a line."""
    return Sheet(COLUMNS, (_cells(row) for row in (view.run.rows if view.run is not None else ())))


def _cells(row: Row) -> list[object]:
    flat = msgspec.structs.asdict(row) | {
        "first_token_p50_s": row.first_token_s.p50, "first_token_p95_s": row.first_token_s.p95, "first_token_p99_s": row.first_token_s.p99,
        "per_token_p95_s": row.per_token_s.p95, "whole_p95_s": row.whole_s.p95,
    }  # fmt: skip
    return [flat[name] for name in COLUMNS]


def simulation_figure(run: SimulationReport) -> Markup:
    """The picture of a run."""
    return simulated.figure(run)


GLOBALS = {"simulation_figure": simulation_figure, "best_words": best_words}
"""what the template calls"""
