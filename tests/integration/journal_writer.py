"""A data worker in miniature, to be killed: writes reservations and records, and says after each call that it returned.

Arguments: journal directory, writer name, fsync, acknowledgement file. Every third request is never finished.
"""

import os
import sys
import time
from pathlib import Path
from typing import Literal, cast

from penstock.adapters.journal.files import FileJournal
from tests.ledger_entries import record, reservation

PAUSE_S = 0.0002


def main(directory: str, writer: str, fsync: str, told: str) -> None:
    journal = FileJournal(directory, writer, cast(Literal["never", "batch", "always"], fsync), segment_bytes=20_000)
    ack = os.open(told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    number = 0
    while Path(directory).exists():
        id = f"{writer}-{number}"
        journal.reserve(reservation(id, worst_case=1_000_000))
        os.write(ack, f"R {id}\n".encode())
        if number % 3:
            journal.append(record(id, cost=1))
            os.write(ack, f"U {id}\n".encode())
        number += 1
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
