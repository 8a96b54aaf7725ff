"""Benchmarks: each module makes figures that the README states, as ratios measured in one run. `python -m bench.<name>`."""
