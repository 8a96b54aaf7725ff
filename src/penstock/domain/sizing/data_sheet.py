"""What a device's data sheet rules out: an output token sooner than its memory can be read for it."""

from fractions import Fraction

from penstock.domain.sizing.accelerators import Accelerator
from penstock.domain.sizing.architecture import Architecture
from penstock.domain.sizing.formats import Format
from penstock.domain.sizing.parameters import parameters


def least_tpot_ms(architecture: Architecture, format: Format, accelerator: Accelerator, devices: int) -> float:
    """Milliseconds in which the devices read, once, the weights that one token passes, at the bandwidth of their data sheet.

    No engine makes a token sooner, however few requests it has, unless it drafts several at once (speculative decoding).
    """
    counts = parameters(architecture)
    linear = Fraction(16) if format.experts_only else format.bits
    bits = counts.linear * linear + counts.expert_active * format.bits + counts.head * format.embedding_bits
    return 1000 * float(bits / 8) / (accelerator.bandwidth * devices)
