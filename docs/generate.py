"""Writes the reference pages, and the page of checked claims, from what the code says of itself; `--check` fails when a page is stale.

python docs/generate.py [--check]
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
from typer.main import get_command

DOCS = Path(__file__).parent
sys.path[:0] = [str(Path(__file__).parents[1] / "src"), str(Path(__file__).parents[1])]

from docs.claims import claims_markdown  # noqa: E402
from penstock.cli.app import application  # noqa: E402  the source tree beside this file is what is documented
from penstock.config.overrides import overridable  # noqa: E402
from penstock.config.schema import config_schema, default_of  # noqa: E402
from penstock.config.settings import Settings  # noqa: E402
from penstock.config.shape import bare, expected, is_table, members, metas  # noqa: E402
from penstock.config.tables import Secret  # noqa: E402
from penstock.ports.metrics import metrics_markdown  # noqa: E402
from tests.acceptance.sdk_matrix import markdown as sdks_markdown  # noqa: E402  the table that the tests play

EXIT_CODES = """\
Exit codes: 0 fine · 1 failed · 2 wrong usage or configuration · 3 a check found problems · 4 result incomplete · 130 interrupted.
Data goes to stdout, narration and errors to stderr.
"""


def config_markdown() -> str:
    """The reference of penstock.toml: one table per table of the file."""
    lines = [
        "# penstock.toml",
        "",
        "One TOML file. Unknown keys are errors. Relative paths are relative to the file. Secrets are named, never written:",
        '`{ env = "NAME" }`. Durations are texts such as `"30s"`, sizes such as `"10 MB"`.',
        "",
    ]
    lines += _table_markdown(Settings, "")
    names = sorted(overridable())
    lines += [
        "## Overrides",
        "",
        "Scalar keys of the fixed sections can be set from the environment:",
        "",
        *(f"- `{name}`" for name in names),
    ]
    return "\n".join(lines) + "\n"


def _table_markdown(table: type[msgspec.Struct], path: str) -> Iterator[str]:
    yield from [f"## `{path}`", "", table.__doc__ or "", ""] if path else []
    yield from ["| key | type | default | meaning |", "|---|---|---|---|"]
    nested: list[tuple[type[msgspec.Struct], str]] = []
    for field in msgspec.structs.fields(table):
        default = default_of(field)
        shown = "required" if field.required else "" if default in (None, []) else f"`{json.dumps(default, ensure_ascii=False)}`"
        meaning = " ".join(meta.description for meta in metas(field.type) if meta.description)
        cells = (f"`{field.encode_name}`", expected(field.type), shown, meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        nested += _nested(field.type, field.encode_name, path)
    yield ""
    for inner, name in nested:
        yield from _table_markdown(inner, name)


def _nested(kind: Any, key: str, path: str) -> Iterator[tuple[type[msgspec.Struct], str]]:
    """The tables that a key holds, under the names they have in the file."""
    inside = f"{path.strip('[]')}.{key}" if path else key
    for member in map(bare, members(kind)):
        arguments = get_args(member)
        if is_table(member) and member is not Secret:
            yield member, f"[{inside}]"
        elif get_origin(member) is dict and is_table(bare(arguments[1])):
            yield bare(arguments[1]), f"[{inside}.<name>]"
        elif get_origin(member) is tuple:
            yield from ((inner, f"[[{inside}]]") for inner in map(bare, members(arguments[0])) if is_table(inner))


def cli_markdown() -> str:
    """The reference of the command line, as the command tree describes itself."""
    lines = ["# Command line", "", EXIT_CODES]
    root = get_command(application())
    for path, command in _commands(root, "penstock"):
        lines += [f"## `{path}`", "", _sentences(command.help), "", *_parameters(command), ""]
    return "\n".join(lines).rstrip() + "\n"


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, f"{path} {name}")


def _sentences(text: str | None) -> str:
    return "\n".join(line.strip() for line in (text or "").strip().splitlines())


def _parameters(command: Any) -> Iterator[str]:
    rows = []
    for parameter in command.params:
        if parameter.name in ("help", "install_completion", "show_completion"):
            continue
        names = ", ".join(f"`{option}`" for option in parameter.opts + parameter.secondary_opts)
        if parameter.param_type_name == "argument":
            names = f"`{parameter.metavar or parameter.name.upper()}`"
        default = parameter.default
        shown = "" if default in (None, False, ()) or callable(default) else f"`{getattr(default, 'value', default)}`"
        shown = "required" if parameter.required else shown
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in (names, shown, parameter.help or "")) + " |")
    if rows:
        yield from ["| option | default | meaning |", "|---|---|---|", *rows]


def schema_json() -> str:
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "reference/config.md": config_markdown,
    "reference/cli.md": cli_markdown,
    "reference/metrics.md": metrics_markdown,
    "reference/sdks.md": sdks_markdown,
    "reference/penstock.schema.json": schema_json,
    "explanation/claims-checked.md": claims_markdown,
}


def main() -> int:
    stale = []
    for name, make in PAGES.items():
        page, text = DOCS / name, make()
        if page.exists() and page.read_text("utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            page.parent.mkdir(exist_ok=True)
            page.write_text(text, "utf-8")
    if stale and "--check" in sys.argv:
        print(f"stale: {', '.join(stale)}\nhint: run `python docs/generate.py`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
