"""Objectives that act: what `[[slos]]` promise is measured on the ledger, and while it is missed, responses stand."""
