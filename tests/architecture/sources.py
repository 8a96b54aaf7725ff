"""The source files that the architecture tests look at, read once and parsed."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "src" / "penstock"


@cache
def repository_files() -> tuple[Path, ...]:
    """Every file that is, or is about to be, under version control; all files where this is no clone."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, check=False
    )
    if listing.returncode:
        visible = (path for path in REPOSITORY.iterdir() if not path.name.startswith("."))
        return tuple(sorted(path for top in visible for path in ([top] if top.is_file() else top.rglob("*")) if path.is_file()))
    paths = (REPOSITORY / name.decode() for name in listing.stdout.split(b"\0") if name)
    return tuple(sorted(path for path in paths if path.is_file()))


def python_files(*, package_only: bool = False) -> list[Path]:
    return [path for path in repository_files() if path.suffix == ".py" and (not package_only or path.is_relative_to(PACKAGE))]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def place(path: Path, node: ast.AST | None = None) -> str:
    """`src/penstock/x.py:12`, to click on."""
    name = str(path.relative_to(REPOSITORY))
    return name if node is None else f"{name}:{getattr(node, 'lineno', 1)}"


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
