"""`penstock size MODEL --measure URL`: a load test of a real endpoint, and from its points which instance serves the model cheapest."""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from penstock.cli.output import FINE, INCOMPLETE, PROBLEMS_FOUND, WRONG_USAGE, CommandError, complain, print_json, say
from penstock.cli.size_measure_options import Wishes, limits_of, objectives_of, plan_of
from penstock.cli.size_prices import own_price, own_price_words

if TYPE_CHECKING:
    from penstock.capacity.measuring.load_test import LoadTest, Plan, Progress
    from penstock.capacity.measuring.points import Point
    from penstock.capacity.measuring.sagemaker import SageMakerJob
    from penstock.capacity.measuring.stopping import Limits
    from penstock.capacity.measuring.storing import Measured
    from penstock.capacity.recommended import Requests
    from penstock.cli.size import Shown
    from penstock.domain.sizing.latency.deployment import Workload
    from penstock.domain.sizing.remedies import Question

DOUBT_HINT = "are --on, --tp and --format those of the endpoint? Only an engine that drafts tokens (speculative decoding) may be faster"


class Endpoint(NamedTuple):
    """What is behind the address, as far as it was told."""

    gpu: str | None
    tensor_parallel: int
    format: str
    engine: str


class Seen(NamedTuple):
    """All that was measured, here or elsewhere."""

    found: "tuple[Measured, ...]"
    jobs: "tuple[SageMakerJob, ...]"
    test: "LoadTest | None"


def recommend(
    wishes: Wishes,
    question: "Question",
    workload: "Workload",
    engine: str,
    tensor_parallel: int | None,
    slo: Sequence[str],
    shown: "Shown",
) -> int:
    """Measures or reads points, ranks instances, prints both; returns the exit code.

    Exit 3: no instance keeps the objective. 4: the endpoint failed under load, so that the points are fewer than asked for.
    """
    from penstock.capacity.measuring.sample import MeasureError
    from penstock.capacity.measuring.stopping import FAILING
    from penstock.capacity.recommended import Requests
    from penstock.capacity.recommending import best_reachable
    from penstock.cli.size_measure_ranking import Asked, as_measured, ranking, too_fast
    from penstock.cli.size_measure_table import document, print_points, print_rows

    targets = objectives_of(slo)
    demand = Requests(input_tokens=workload.input_tokens, output_tokens=workload.output_tokens, per_minute=wishes.per_minute)
    endpoint = _endpoint(wishes, question, engine, tensor_parallel)
    try:
        seen = _seen(wishes, question, endpoint, demand, shown.quiet)
    except MeasureError as problem:
        raise CommandError(str(problem), problem.hint) from None
    asked, moved = as_measured(Asked(question, demand, targets, engine, shown.offers), seen.found)
    rows, more = ranking(asked, seen.found, seen.jobs)
    demand, notes = asked.demand, [*moved, *more]
    if (own := own_price(question.offers)) is not None:
        notes.append(own_price_words(own) + " (imported rows keep the price of their job)" * bool(seen.jobs))
    doubts = [doubt for told in seen.found if (doubt := too_fast(asked, told)) is not None]
    for doubt in doubts:
        complain(doubt, DOUBT_HINT, "warning")
    nearest = () if any(row.keeps for row in rows) else best_reachable(rows, targets)
    if shown.json:
        print_json(document(question, demand, targets, seen.found, seen.jobs, rows, [*doubts, *notes, *nearest]))
    else:
        print_points(seen.found)
        print_rows(rows, demand, targets)
        for each in (*notes, *nearest):
            say(each, shown.quiet)
    if nearest:
        return PROBLEMS_FOUND
    return INCOMPLETE if seen.test is not None and seen.test.stopped in FAILING else FINE


def _endpoint(wishes: Wishes, question: "Question", engine: str, tensor_parallel: int | None) -> Endpoint:
    from penstock.domain.sizing.accelerators import UnknownNameError, find

    if wishes.url is not None and wishes.points:
        raise CommandError("points are measured by --measure, or read by --points", "pass one of them", WRONG_USAGE)
    if wishes.url is None and not wishes.points:
        raise CommandError("there is nothing to measure", "pass --measure URL, or --points FILE of an earlier measurement", WRONG_USAGE)
    try:
        gpu = None if wishes.on is None else find(wishes.on, question.known).name
    except UnknownNameError as problem:
        raise CommandError(str(problem), "name the GPU that the endpoint runs on, such as H100-80GB", WRONG_USAGE) from None
    return Endpoint(gpu, tensor_parallel or 1, question.formats[0].name, engine)


def _seen(wishes: Wishes, question: "Question", endpoint: Endpoint, demand: "Requests", quiet: bool) -> Seen:
    """Raises `MeasureError`, and `CommandError` for options that contradict each other."""
    from penstock.capacity.measuring.sagemaker import is_sagemaker, read_sagemaker
    from penstock.capacity.measuring.storing import read_points

    if wishes.url is None:
        found, jobs = [], []
        for path in wishes.points:
            content = path.read_bytes()
            if is_sagemaker(content):
                jobs.append(read_sagemaker(content, path.name))
            else:
                found.append(_completed(read_points(path), question, endpoint))
        return Seen(tuple(found), tuple(jobs), None)
    plan, limits = plan_of(wishes, demand.input_tokens, demand.output_tokens), limits_of(wishes)
    so_far: list[Point] = []
    try:
        test = _tested(wishes, plan, limits, so_far.append, quiet)
    except KeyboardInterrupt:
        _keep(wishes.output, _measured(None, tuple(so_far), question, endpoint), quiet)
        raise
    told = _measured(test, test.points, question, endpoint)
    _keep(wishes.output, told, quiet)
    return Seen((told,), (), test)


def _tested(wishes: Wishes, plan: "Plan", limits: "Limits", keep: "Callable[[Point], None]", quiet: bool) -> "LoadTest":
    from penstock.capacity.measuring.endpoint import place
    from penstock.capacity.measuring.load_test import load_test
    from penstock.capacity.measuring.sample import MeasureError
    from penstock.cli.size_measure_table import point_words

    assert wishes.url is not None
    try:
        where, key = place(wishes.url), _key(wishes.api_key_env)
    except MeasureError as problem:
        raise CommandError(str(problem), problem.hint, WRONG_USAGE) from None
    loads = plan.rates_per_minute or plan.concurrencies
    kind = "requests a minute" if plan.rates_per_minute else "requests at once"
    say(
        f"measuring {where.base_url}: {', '.join(f'{each:g}' for each in loads)} {kind}, {plan.input_tokens:,} tokens in and "
        f"{plan.output_tokens:,} out, {limits.duration_s:g} s at most",
        quiet,
    )

    def found(each: "Point") -> None:
        keep(each)
        say(point_words(each), quiet)

    with _progress(quiet) as progress:
        test = asyncio.run(load_test(where, wishes.upstream_model, key, plan, limits, progress, found))
    say(f"stopped after {test.requests:,} requests and {test.seconds:.0f} s: {test.stopped}", quiet)
    for note in test.notes:
        say(f"note: {note}", quiet)
    return test


def _key(variable: str | None) -> str | None:
    """The key in a variable that was named: none is sent to an address that nobody meant it for."""
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise CommandError(f"the environment variable `{variable}` is not set", f"run `export {variable}=...` first", WRONG_USAGE)
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise CommandError(f"the environment variable `{variable}` holds no key: it has spaces or lines", "export the key", WRONG_USAGE)
    return key


def _measured(test: "LoadTest | None", points: "tuple[Point, ...]", question: "Question", endpoint: Endpoint) -> "Measured":
    """Points with what is known of the endpoint; of a test that was interrupted (None) no more than that."""
    from penstock.capacity.measuring.storing import Measured

    return Measured(
        url=None if test is None else test.url,
        model=question.architecture.name,
        upstream_model=None if test is None else test.model,
        gpu=endpoint.gpu,
        tensor_parallel=endpoint.tensor_parallel,
        engine=endpoint.engine,
        format=endpoint.format,
        started=None if test is None else test.started,
        stopped="interrupted" if test is None else test.stopped,
        notes=() if test is None else test.notes,
        points=points,
    )


def _completed(told: "Measured", question: "Question", endpoint: Endpoint) -> "Measured":
    """What a file leaves open is what the options say; names are those of the catalogue. Raises `CommandError`."""
    import msgspec

    from penstock.adapters.feeds.catalogue import find_architecture
    from penstock.domain.sizing.accelerators import UnknownNameError, find

    name = question.architecture.name
    try:
        model = name if told.model in (None, name) else find_architecture(str(told.model)).name
        gpu = endpoint.gpu if told.gpu is None else find(told.gpu, question.known).name
    except UnknownNameError as problem:
        raise CommandError(str(problem), "correct the file of points", WRONG_USAGE) from None
    if model != name:
        raise CommandError(f"the points are of {model}, not of {name}", "size the model that was measured", WRONG_USAGE)
    return msgspec.structs.replace(told, model=model, gpu=gpu, engine=told.engine or endpoint.engine, format=told.format or endpoint.format)


def _keep(path: Path | None, told: "Measured", quiet: bool) -> None:
    from penstock.capacity.measuring.storing import write_points

    if path is not None and told.points:
        write_points(path, told)
        say(f"{len(told.points)} point{'s' * (len(told.points) > 1)} in {path}", quiet)


@contextmanager
def _progress(quiet: bool) -> "Iterator[Callable[[Progress], None]]":
    """A bar for the load that runs, where stderr is a terminal."""
    from penstock.cli.output import stderr_console

    console = stderr_console()
    if quiet or not console.is_terminal:
        yield lambda told: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[beside]}"))
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("first answers", total=None, beside="")

        def show(told: "Progress") -> None:
            failed = f"{told.failed} failed, " if told.failed else ""
            bar.update(
                task,
                description=f"{told.load} ({told.number} of {told.loads})",
                completed=told.done,
                total=told.planned,
                beside=f"{failed}{told.elapsed_s:.0f} s",
            )

        yield show
