"""How `penstock cache` shows the cache: a few lines and a table of scopes, and a table of entries."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.cli.cost_table import printable
from penstock.cli.output import stdout_console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from penstock.config.settings import Settings
    from penstock.finops.caching.following import AnswerLog

QUESTION = 60
"""characters of a question that are shown"""
QUESTION_HEADING, WRONG = "question", "wrong of all, measured"
_WORDS = ("id", QUESTION_HEADING, "model", "age", "user", "", "scope", WRONG)
_BY_RISK = {"expected": "expected", "at most": "at_most"}
_FIND_SPARE = ("user", "age", "worth USD", "model")
_STATUS_SPARE = ("pinned", "entries", "by words", "expected", "looked up", "at most")
"""columns that give way on narrow terminals, the first first"""


def status_json(settings: "Settings", log: "AnswerLog", environ: Mapping[str, str], now_ns: int) -> dict[str, Any]:
    """The document that `penstock cache status --json` prints. Shares are of 1; what is not known is null.

    `estimate`, `low` and `high` are of answers by meaning, all other shares are of requests. `off`: why nothing is answered by meaning
    though `enabled`; `file`: where the store is one.
    """
    import msgspec

    from penstock.bootstrap.answers import answers_url
    from penstock.bootstrap.caching import wanting
    from penstock.cli.surroundings import without_password
    from penstock.finops.caching.truth import scope_truth
    from penstock.finops.caching_value import of_requests

    given, standing, lacking = settings.cache.semantic, log.standing, wanting(settings, environ)
    store = without_password(answers_url(settings))
    scopes = []
    truths = [scope_truth(name, scope, kept, given) for name, scope, kept in log.scopes()]
    for told in truths:
        scope, truth = standing.scopes[told.scope], msgspec.to_builtins(told)
        truth |= {f"{name}_of_requests": of_requests(told, truth[name]) for name in ("estimate", "low", "high")}
        more = {"entries": scope.entries, "curated": scope.curated, "bytes": scope.bytes}
        looked = {"exact": scope.looked.exact, "normalised": scope.looked.normalised, "semantic": scope.looked.semantic}
        feedback = {"feedback_right": scope.told_right, "feedback_wrong": scope.told_wrong}
        scopes.append(truth | more | looked | feedback)
    return {
        "enabled": given.enabled,
        "mode": given.mode,
        "max_error": given.max_error,
        "embedder": given.embedder,
        "embedders": standing.embedders,
        "off": None if lacking is None else {"why": str(lacking), "hint": lacking.hint},
        "store": store,
        "file": str(Path(settings.server.journal) / "answers.db") if store == "local://" else None,
        "entries": len(standing.kept),
        "expired": sum(kept.expired(now_ns) for kept in standing.kept.values()),
        "bytes": standing.total_bytes(),
        "max_bytes": int(given.max_bytes),
        "removed": standing.removed,
        "scopes": scopes,
    }


def print_status(told: Mapping[str, Any]) -> None:
    """For people."""
    console = stdout_console()
    console.print(f"semantic cache: {_mode(told)}")
    console.print(f"embedder {told['embedder']}; kept in {told['file'] or told['store']}")
    console.print(f"{told['entries']:,} entries, {_size(told['bytes'])} of {_size(told['max_bytes'])}{_removed(told['removed'])}")
    if len(told["embedders"]) > 1:
        stamps = ", ".join(f"{printable(stamp)} ({count:,})" for stamp, count in told["embedders"].items())
        console.print(f"entries of several embedders are never compared: {stamps}")
    if not told["scopes"]:
        return
    console.print(fitting(_scope_columns(told), _STATUS_SPARE, {"scope": 24, WRONG: 24}, console))


def _scope_columns(told: Mapping[str, Any]) -> "dict[str, list[str]]":
    """A column by its heading for each figure of scopes; those by the risk only where answers are served by it."""
    shadow, scopes = told["enabled"] and told["mode"] == "shadow", told["scopes"]
    counts = {
        "entries": "entries", "pinned": "curated", "looked up": "requests", "by words": "normalised",
        "could be by meaning" if shadow else "by meaning": "served", "compared": "compared",
    }  # fmt: skip
    columns = {"scope": [scope["scope"] or "everybody" for scope in scopes]}
    columns |= {heading: [f"{scope[name]:,}" for scope in scopes] for heading, name in counts.items()}
    columns[WRONG] = [_wrong(scope) for scope in scopes]
    if not shadow:
        columns |= {heading: [_percent(scope[name]) for scope in scopes] for heading, name in _BY_RISK.items()}
    return columns


def fitting(columns: Mapping[str, list[str]], spare: Sequence[str], least: Mapping[str, int], console: "Console") -> "Table":
    """A table of these columns without so many of `spare`, the first first, that none is narrower than it can be read.

    Columns named in `least` may be as narrow as that, in terminal cells; all others keep their cells and headings whole.
    """
    left, unbounded = list(spare), console.options.update(max_width=10_000)
    while True:
        shown = {heading: cells for heading, cells in columns.items() if heading in left or heading not in spare}
        table = _table(shown, least)
        room = console.width - console.measure(table, options=unbounded).minimum
        if not left or room >= 0:
            break
        left.pop(0)
    for column in table.columns:
        if column.header == QUESTION_HEADING:
            column.max_width = (column.min_width or 0) + max(room, 0)
    return table


def _table(columns: Mapping[str, list[str]], least: Mapping[str, int]) -> "Table":
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, cells in columns.items():
        widest = max(cell_len(printable(text)) for text in (heading, *cells))
        cut = heading == QUESTION_HEADING
        table.add_column(
            heading,
            justify="left" if heading in _WORDS else "right",
            min_width=min(widest, least.get(heading, widest)),
            no_wrap=cut or heading not in least,
            overflow="ellipsis" if cut else "fold",
        )
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(printable, row))
    return table


def _mode(told: Mapping[str, Any]) -> str:
    if not told["enabled"]:
        return "off ([cache.semantic] enabled = false)"
    if off := told["off"]:
        return f"off, though it is turned on: {off['why']}\nhint: {off['hint']}"
    return f"mode {told['mode']}{_meant(told)}"


def _meant(told: Mapping[str, Any]) -> str:
    """What a mode does, in a clause: what is promised, or what would have been served."""
    if told["mode"] == "learned":
        return f", at most {told['max_error'] * 100:g} % of requests may be wrong"
    if told["mode"] != "shadow":
        return ""
    looked, could = (sum(scope[name] for scope in told["scopes"]) for name in ("requests", "served"))
    share = f" ({could / looked * 100:.3g} %)" if looked else ""
    return f", which serves nothing by meaning: it could have answered {could:,} of {looked:,} requests so{share}"


def print_entries(entries: Sequence[Mapping[str, Any]]) -> None:
    """A row for each entry; questions are cut."""
    from penstock.finops.caching.finding import age_words

    console = stdout_console()
    columns = {
        "id": [each["id"] for each in entries],
        QUESTION_HEADING: [_cut(each["question"]) for each in entries],
        "model": [each["model"] for each in entries],
        "age": [age_words(each["age_s"] * 10**9) for each in entries],
        "served": [f"{each['served']:,}" for each in entries],
        "worth USD": [each["worth_usd"] or "unknown" for each in entries],
        "user": [each["user"] or "" for each in entries],
        "": ["pinned" if each["curated"] else "" for each in entries],
    }
    wanted = {heading: cells for heading, cells in columns.items() if any(cells)}
    console.print(fitting(wanted, _FIND_SPARE, {QUESTION_HEADING: 24}, console))


def _wrong(scope: Mapping[str, Any]) -> str:
    if scope["estimate_of_requests"] is None:
        told = "not measured yet"
    else:
        low, high = scope["low_of_requests"] * 100, scope["high_of_requests"] * 100
        told = f"{_percent(scope['estimate_of_requests'])} ({low:.2g} to {high:.2g} %)"
    return f"{told}, ALARM: zero-trust for now" if scope["alarm"] else told


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share * 100:.2g} %"


def _removed(reasons: Mapping[str, int]) -> str:
    told = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items()))
    return f"; gone: {told}" if told else ""


def _cut(text: str) -> str:
    told = " ".join(text.split())
    return told if len(told) <= QUESTION else told[: QUESTION - 1] + "\u2026"


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 or not size else f"{size / 1e3:,.1f} kB"
