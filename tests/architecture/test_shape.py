"""Sizes, names and docstrings: what keeps every file readable in one sitting."""

import ast

from tests.architecture.sources import REPOSITORY, functions, place, python_files, tree

MODULE_LINES = 400
FUNCTION_LINES = 60
JUNK_DRAWERS = {"utils", "util", "common", "core", "helpers", "helper", "services", "models", "types", "misc", "base"}


def test_modules_are_short() -> None:
    long = {place(path): lines for path in python_files() if (lines := len(path.read_text("utf-8").splitlines())) > MODULE_LINES}
    assert not long, f"modules of more than {MODULE_LINES} lines: {long}"


def test_functions_are_short() -> None:
    long = {
        f"{place(path, function)} {function.name}": lines
        for path in python_files()
        for function in functions(path)
        if (lines := (function.end_lineno or function.lineno) - function.lineno + 1) > FUNCTION_LINES
    }
    assert not long, f"functions of more than {FUNCTION_LINES} lines: {long}"


def test_no_junk_drawers() -> None:
    drawers = [place(path) for path in python_files() if JUNK_DRAWERS & {*path.relative_to(REPOSITORY).parts, path.stem}]
    assert not drawers, f"say what is in it instead: {drawers}"


def test_modules_say_what_they_know() -> None:
    silent = [place(path) for path in python_files() if path.stat().st_size and not ast.get_docstring(tree(path))]
    silent += [place(path) for path in python_files(package_only=True) if not path.stat().st_size]
    assert not silent, f"modules without a docstring: {silent}"


def test_packages_are_not_empty() -> None:
    folders = {path.parent for path in python_files(package_only=True)}
    empty = [place(folder) for folder in folders if {path.name for path in folder.iterdir()} <= {"__init__.py", "__pycache__"}]
    assert not empty, f"a room appears when there is something in it: {empty}"
    unopened = [place(folder) for folder in folders if not (folder / "__init__.py").exists()]
    assert not unopened, f"packages without an __init__.py: {unopened}"
