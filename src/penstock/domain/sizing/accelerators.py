"""What an accelerator is: memory, bandwidth, arithmetic by precision, links, power. Facts, each with date and source."""

import difflib
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Annotated, Literal

import msgspec

Vendor = Literal["nvidia", "amd", "google", "aws"]
Precision = Literal["fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp4", "int4"]
"""of arithmetic, as data sheets name it"""
Name = Annotated[str, msgspec.Meta(min_length=1)]
Amount = Annotated[float, msgspec.Meta(gt=0)]
SUGGESTED = 3


class Accelerator(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One device (a GPU, a TPU chip, a Neuron device) by its data sheet; what is not published is None or left out."""

    name: Name
    """with its memory, as offers and MIG cards are named: `H100-80GB`"""
    vendor: Vendor
    generation: Name
    """`hopper`, `ada`, `tpu-v5e`: what decides which kernels exist"""
    compute_capability: str | None = None
    """of NVIDIA devices: `9.0`"""
    memory_bytes: Annotated[int, msgspec.Meta(gt=0)]
    """what a program can have of it, before an engine's own share"""
    bandwidth: Amount
    """of its memory, bytes per second"""
    flops: dict[Precision, Amount]
    """dense operations per second, without sparsity"""
    link: Literal["nvlink", "pcie", "ici", "neuronlink", "infinity-fabric"]
    link_bandwidth: Amount | None = None
    """to its neighbours, bytes per second in one direction"""
    multiprocessors: int | None = None
    """streaming multiprocessors, or compute units"""
    mig_multiprocessors: int | None = None
    """those of one compute slice of MIG: fewer than a seventh of all"""
    power_w: Amount | None = None
    pci_ids: tuple[str, ...] = ()
    """device ids, such as `0x2330`; the vendor's is 0x10DE for NVIDIA"""
    also: tuple[Name, ...] = ()
    """other names in use: of benchmarks, of clouds, of SkyPilot"""
    date: date
    source: Name


class UnknownNameError(LookupError):
    """A name that the catalogue does not have; the message names the nearest."""


def find(name: str, known: Iterable[Accelerator]) -> Accelerator:
    """The accelerator that is meant by `H100-80GB`, `h100`, or another name in use. Raises `UnknownNameError`."""
    devices = list(known)
    asked = _plain(name)
    for device in devices:
        if is_called(device, name):
            return device
    starting = [device for device in devices if _plain(device.name).startswith(f"{asked}-")]
    if len(starting) == 1:
        return starting[0]
    if starting:
        raise UnknownNameError(f"`{name}` may be {' or '.join(device.name for device in starting)}: name its memory")
    raise UnknownNameError(not_known("accelerator", name, [device.name for device in devices]))


def is_called(device: Accelerator, name: str) -> bool:
    """Whether the device is meant by exactly this name, as clouds and price lists write it."""
    return _plain(name) in map(_plain, (device.name, *device.also))


def not_known(kind: str, name: str, names: Sequence[str]) -> str:
    """What to say of an unknown name: the nearest ones, else all of them."""
    nearest = difflib.get_close_matches(name.lower(), [each.lower() for each in names], SUGGESTED, 0.4)
    by_name = {each.lower(): each for each in names}
    if not nearest:
        return f"no {kind} `{name}` is known; these are: {', '.join(names)}"
    return f"no {kind} `{name}` is known; the nearest: {', '.join(by_name[each] for each in nearest)}"


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")
