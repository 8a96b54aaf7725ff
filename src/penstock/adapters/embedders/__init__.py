"""What turns questions into vectors: a model in this process, or an upstream's. Heavy packages are loaded only where one is opened."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from penstock.ports.embedder import Embedder
    from penstock.ports.upstream import Upstream

_EXTRA: Final = ("numpy", "onnx", "onnxruntime", "tokenizers", "usearch")


def missing() -> list[str]:
    """Packages of the extra `semantic` that are not installed; without one of them this room cannot be used."""
    return [name for name in _EXTRA if find_spec(name) is None]


def open_embedder(name: str, near: Path, environ: Mapping[str, str]) -> Embedder:
    """The model of this process: `minilm`, a directory (relative to `near`), or a name on the hub that is in its local cache.

    Takes some tenths of a second and reads all weights once. Raises `EmbedderError`.
    """
    from penstock.adapters.embedders.minilm import OrtEmbedder
    from penstock.adapters.embedders.weights import find

    return OrtEmbedder(find(name, near, environ))


def open_upstream_embedder(model: str, upstream: Upstream) -> Embedder:
    """The model of an upstream that makes embeddings; `model` is what the upstream calls it. Calls nobody yet."""
    from penstock.adapters.embedders.upstream import UpstreamEmbedder

    return UpstreamEmbedder(model, upstream)
