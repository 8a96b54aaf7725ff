"""A controller's part in the lease, as a process that can be killed: `python -m tests.integration.leading_host URL NAME`.

Writes `+` when it begins to lead and `-` when it does not any more, with the time; all spans of the lease are a tenth of the real ones.
"""

import sys
import time

from penstock.adapters.stores import open_documents
from penstock.finops import leading


def main(url: str, name: str) -> None:
    """Until stdin ends."""
    leading.LEASE_S, leading.TRUST_S, leading.RENEW_S, leading.LOOK_S = 0.8, 0.6, 0.2, 0.1
    leader = leading.Leader(open_documents(url), name, lambda message: None)
    leader.start()
    led = False
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if leader.leads() != led:
            led = not led
            print("+" if led else "-", time.time(), flush=True)
        time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
