"""Penstock: what every AI request costs, who pays for it, and how the same answers cost less."""

__version__ = "0.1.0"
