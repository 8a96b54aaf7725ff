"""Arithmetic of serving costs that is often printed wrong: each calculator a pure function from typed inputs to a typed result."""
