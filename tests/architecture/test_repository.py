"""What the repository as a whole promises: a lock that can be trusted, nothing left undone, no place on somebody's machine."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from tests.architecture.sources import PACKAGE, REPOSITORY, place, repository_files

TEXT = {".py", ".md", ".toml", ".txt", ".lock", ".yaml", ".yml", ".json", ".jsonl", ".cfg", ".ini", ".sh", ""}
# written apart, so that this file does not name them
REGISTRIES = ["py" + "pi.org", "python" + "hosted", "npm" + "js.org", "deb.deb" + "ian.org", "proxy.go" + "lang", "cra" + "tes.io"]
UNDONE = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
LOCAL = re.compile(r"(?<![\w./])/(wo" + r"rk|ro" + r"ot|ho" + r"me)/\w+")


def found(pattern: re.Pattern[str], suffixes: set[str] = TEXT) -> list[str]:
    return [
        f"{place(path)}:{number}: {line.strip()[:80]}"
        for path in repository_files()
        if path.suffix in suffixes
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_registry_is_named() -> None:
    assert not found(re.compile("|".join(map(re.escape, REGISTRIES)), re.IGNORECASE))


def test_nothing_is_left_undone() -> None:
    assert not found(UNDONE)


def test_no_path_of_somebodys_machine() -> None:
    assert not found(LOCAL)


def test_lock_is_hashed_and_has_no_address() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text()
    assert not re.search(r"\w+://|^-", lock, re.MULTILINE)
    entries = re.findall(r"^([A-Za-z0-9][\w.-]*)==\S+(.*?)(?=^\S|\Z)", lock, re.MULTILINE | re.DOTALL)
    assert len(entries) > 30
    assert not [name for name, rest in entries if "--hash=sha256:" not in rest]
    assert "torch" not in {name for name, _ in entries}


def test_lock_holds_every_declared_dependency() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    declared = [*project["project"]["dependencies"], *project["build-system"]["requires"], *project["dependency-groups"]["dev"]]
    declared += [need for extra in project["project"]["optional-dependencies"].values() for need in extra]
    names = {re.split(r"[\[<>=!~; ]", need)[0] for need in declared}
    locked = set(re.findall(r"^([\w.-]+)==", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE))
    assert not names - locked, "run `make lock`"


def test_wheel_holds_the_package_whole(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    run = subprocess.run(build, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {str(path.relative_to(PACKAGE.parent)) for path in repository_files() if path.is_relative_to(PACKAGE)}
    assert inside <= names  # templates and static files too
    assert "penstock/py.typed" in names
    assert {name.rpartition("licenses/")[2] for name in names if "licenses/" in name} == {"LICENSE", "NOTICE"}
    assert not [name for name in names if not name.startswith(("penstock/", "penstock-"))]
