"""The laws: pure functions and frozen values. No I/O, no clock, no hidden randomness."""
