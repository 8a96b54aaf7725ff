"""Facts of the world that Penstock carries: what accelerators can do and what language models are made of. Dated, with their source."""

import tomllib
from datetime import date
from functools import cache
from typing import Annotated, TypeVar

import msgspec

from penstock.adapters.feeds.gpus import carried, mig_profiles
from penstock.domain.sizing.accelerators import Accelerator, UnknownNameError, not_known
from penstock.domain.sizing.architecture import Architecture
from penstock.domain.sizing.mig import Slice

VARIANTS = (
    "-instruct", "-chat", "-hf", "-it", "-base", "-pt", "-fp8", "-nvfp4", "-mxfp4", "-fp4", "-bf16", "-awq", "-gptq", "-gguf", "-int4",
    "-int8", "-w4a16", "-w8a8", "-dynamic", "-fp8-dyn", "-bnb-4bit", "-4bit",
)  # fmt: skip
"""what names of checkpoints say at their end besides the architecture"""


class CatalogueError(Exception):
    """A data file of the catalogue is not as its schema says; the message names the file and the field."""


class Model(Architecture, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An architecture that is known by name, with what its makers say of its size."""

    also: tuple[str, ...] = ()
    """checkpoints with the same architecture"""
    contexts: dict[str, Annotated[int, msgspec.Meta(gt=0)]] = msgspec.field(default_factory=dict)
    """`max_context` of those of them that were trained for another one"""
    family: Annotated[str, msgspec.Meta(min_length=1)]
    published: Annotated[int, msgspec.Meta(gt=0)]
    """parameters in all"""
    published_active: int | None = None
    """parameters that a token passes, as its makers round them"""
    stored: str | None = None
    """the format that its makers publish the weights in, where that is not 16 bits"""
    date: date
    source: Annotated[str, msgspec.Meta(min_length=1)]


class _Accelerators(msgspec.Struct, forbid_unknown_fields=True):
    accelerator: tuple[Accelerator, ...]


class _Models(msgspec.Struct, forbid_unknown_fields=True):
    model: tuple[Model, ...]


_File = TypeVar("_File", _Accelerators, _Models)


@cache
def accelerators() -> tuple[Accelerator, ...]:
    """Every device that is known, in the order of the file. Raises `CatalogueError`."""
    return _checked(carried("accelerators.toml"), _Accelerators, "accelerators.toml").accelerator


@cache
def architectures() -> dict[str, Model]:
    """Every model that is known, by name. Raises `CatalogueError`."""
    return {model.name: model for model in _checked(carried("models.toml"), _Models, "models.toml").model}


@cache
def mig_slices() -> dict[str, tuple[Slice, ...]]:
    """The slices that each accelerator can be cut into, by its name; none with a media extension, none that is the whole card."""
    return {
        card.gpu: tuple(
            Slice(name=each.name, compute=each.compute, compute_of=card.compute, memory=each.memory, memory_of=card.memory, most=each.most)
            for each in card.profiles
            if "+" not in each.name and each.compute < card.compute
        )
        for card in mig_profiles().values()
    }


def find_architecture(name: str) -> Model:
    """The model that is meant by `llama-3.1-8b`, `meta-llama/Llama-3.1-8B-Instruct` or `nvidia/Llama-3.1-8B-Instruct-FP8`.

    Raises `UnknownNameError` with the nearest names.
    """
    names = _names()
    asked = _plain(name)
    for candidate in (asked, _stem(asked)):
        if found := names.get(candidate):
            return found
    raise UnknownNameError(not_known("model", name.rpartition("/")[2], list(architectures())))


@cache
def _names() -> dict[str, Model]:
    names: dict[str, Model] = {}
    for model in architectures().values():
        for name in (model.name, *model.also):
            meant = model
            if name in model.contexts:
                meant = msgspec.structs.replace(model, name=_plain(name), max_context=model.contexts[name])
            for form in (_plain(name), _stem(_plain(name))):
                names.setdefault(form, meant)
    return {**names, **{model.name: model for model in architectures().values()}}


def _plain(name: str) -> str:
    return name.strip().rpartition("/")[2].lower().replace("_", "-").replace(" ", "-").removeprefix("meta-")


def _stem(name: str) -> str:
    """Without the words at its end that say how a checkpoint was trained or stored, and without its separators."""
    for ending in VARIANTS:
        if name.endswith(ending) and len(name) > len(ending):
            return _stem(name.removesuffix(ending))
    return name.replace("-", "").replace(".", "")


def _checked(content: bytes, kind: type[_File], name: str) -> _File:
    try:
        return msgspec.convert(tomllib.loads(content.decode("utf-8")), kind)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as problem:
        raise CatalogueError(f"{name}: {str(problem)[:1].lower()}{str(problem)[1:]}") from None
