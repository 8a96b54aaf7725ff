"""`python -m bench`: the benchmarks whose figures the README states, one after another."""

import runpy
import sys

MODULES = (
    "bench.gateway", "bench.crash", "bench.console", "bench.demo", "bench.ledger", "bench.bills", "bench.admission", "bench.race",
    "bench.overload", "bench.forecast", "bench.anomalies", "bench.semindex", "bench.latency_model", "bench.autoscale", "bench.simulator",
)  # fmt: skip

if __name__ == "__main__":
    for module in MODULES:
        print(f"== {module}", file=sys.stderr, flush=True)
        sys.argv = [module]
        try:
            runpy.run_module(module, run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
