"""The ledger: one immutable row per request, and the measures that are read off it."""
