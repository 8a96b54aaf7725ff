"""Habits of the code that import contracts and linters do not see: hidden clocks, swallowed errors, state in modules."""

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, place, python_files, tree

BLIND = {"Exception", "BaseException"}
CLOCKS_AND_DICE = {"now", "utcnow", "today", "urandom", "uuid1", "uuid4", "token_bytes", "token_hex"}
SIDE_EFFECTS = {"open", "print", "input", "exec", "eval", "breakpoint"}
EMPTY_CONTAINERS = {"dict", "list", "set", "defaultdict", "deque", "Counter", "OrderedDict"}


def swallowed(module: ast.Module) -> Iterator[ast.ExceptHandler]:
    """Handlers of every error that neither raise again nor tell of it."""
    for node in ast.walk(module):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        blind = any(kind is None or (isinstance(kind, ast.Name) and kind.id in BLIND) for kind in caught)
        inside = [inner for statement in node.body for inner in ast.walk(statement)]
        told = any(isinstance(inner, ast.Raise) or (isinstance(inner, ast.Name) and inner.id == node.name) for inner in inside)
        if blind and not told:
            yield node


def impure(module: ast.Module) -> Iterator[ast.Call]:
    """Calls that read a clock, throw dice or touch the outside."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute) and function.attr in CLOCKS_AND_DICE:
                yield node
            if isinstance(function, ast.Name) and function.id in SIDE_EFFECTS | CLOCKS_AND_DICE:
                yield node


def mutable_state(module: ast.Module) -> Iterator[ast.stmt]:
    """`global` statements, and module-level containers that start empty (so somebody fills them)."""
    for node in ast.walk(module):
        if isinstance(node, ast.Global):
            yield node
    for statement in module.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            value = statement.value
            made = isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in EMPTY_CONTAINERS
            if (
                (isinstance(value, ast.List) and not value.elts)
                or (isinstance(value, ast.Dict) and not value.keys)
                or (made and isinstance(value, ast.Call) and not value.args and not value.keywords)
            ):
                yield statement


def places(law: str, files: list[Path]) -> list[str]:
    laws = {"swallowed": swallowed, "impure": impure, "mutable_state": mutable_state}
    return [place(path, node) for path in files for node in laws[law](tree(path))]


def test_no_error_is_swallowed() -> None:
    assert not places("swallowed", python_files(package_only=True)), "catch what you expect, raise again, or tell of it"


def test_domain_is_pure() -> None:
    domain = [path for path in python_files(package_only=True) if path.is_relative_to(PACKAGE / "domain")]
    assert domain
    assert not places("impure", domain), "the time, the dice and the text are arguments"


def test_no_state_in_modules() -> None:
    assert not places("mutable_state", python_files(package_only=True)), "give the state an owner"


@pytest.mark.parametrize(
    ("law", "source"),
    [
        ("swallowed", "try: pass\nexcept Exception: pass"),
        ("swallowed", "try: pass\nexcept (ValueError, BaseException) as e: x = 1"),
        ("swallowed", "try: pass\nexcept: pass"),
        ("impure", "from datetime import datetime\ndatetime.now()"),
        ("impure", "open('x')"),
        ("mutable_state", "seen: dict[str, int] = {}"),
        ("mutable_state", "seen = set()"),
        ("mutable_state", "def f():\n    global x\n    x = 1"),
    ],
)
def test_the_laws_can_be_broken(law: str, source: str) -> None:
    laws = {"swallowed": swallowed, "impure": impure, "mutable_state": mutable_state}
    assert len(list(itertools.islice(laws[law](ast.parse(source)), 2))) == 1
