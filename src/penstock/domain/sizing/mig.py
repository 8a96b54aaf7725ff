"""A slice of a GPU by MIG as a device of its own: its part of the memory, of the bandwidth and of the multiprocessors.

Memory and compute are cut into different numbers of slices, and cutting loses some of both: seven slices of an H100 have 112 of its
132 multiprocessors and 7 of 8 parts of its memory. NVIDIA MIG User Guide, Supported MIG Profiles.
"""

from fractions import Fraction

import msgspec

from penstock.domain.sizing.accelerators import Accelerator

LOST_BYTES = 256 * 2**20
"""of each slice's memory: an H100's `1g.10gb` has 9.75 GiB of 79.65 GiB / 8, its `3g.40gb` 39.5 of 39.8"""


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """A MIG profile: the slices of compute and memory that it takes, of those that the card has."""

    name: str
    compute: int
    compute_of: int
    memory: int
    memory_of: int
    most: int
    """that fit on an empty card"""

    @property
    def share(self) -> Fraction:
        """Of the card's price: its slices of compute, or of memory where it takes more of those."""
        return max(Fraction(self.compute, self.compute_of), Fraction(self.memory, self.memory_of))

    @property
    def starts(self) -> tuple[int, ...]:
        """Memory slices at which one may begin, from 0: as many as fit, side by side. So a `3g` takes a half of the card, and two of them
        leave a slice of compute that nothing can use."""
        return tuple(range(0, self.memory * self.most, self.memory))


def device_of(accelerator: Accelerator, mig: Slice) -> Accelerator:
    """The slice as a device: no links, bandwidth by its memory, arithmetic by its multiprocessors."""
    memory, compute = Fraction(mig.memory, mig.memory_of), Fraction(mig.compute, mig.compute_of)
    multiprocessors = None
    if accelerator.multiprocessors is not None and accelerator.mig_multiprocessors is not None:
        multiprocessors = accelerator.mig_multiprocessors * mig.compute
        compute = Fraction(multiprocessors, accelerator.multiprocessors)
    return msgspec.structs.replace(
        accelerator,
        memory_bytes=int(accelerator.memory_bytes * memory) - LOST_BYTES,
        bandwidth=accelerator.bandwidth * float(memory),
        flops={precision: amount * float(compute) for precision, amount in accelerator.flops.items()},
        link="pcie",
        link_bandwidth=None,
        multiprocessors=multiprocessors,
        mig_multiprocessors=None,
    )
