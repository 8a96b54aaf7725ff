"""Callables such as users write for their checks, good and bad."""

import os
import sys
import time

HERE = "not a callable"


def right(question: str, answer: str) -> bool:
    return question == "the question" and answer == "the answer"


def wrong(question: str, answer: str) -> bool:
    return False


def likely(question: str, answer: str) -> float:
    return 0.75


def prints(question: str, answer: str) -> bool:
    print("to stdout, which is not ours")
    os.write(1, b"\x00\x00\x00\x02ab")
    return True


def reads(question: str, answer: str) -> float:
    return 0.5 if sys.stdin.read() == "" else 0.1


def raises(question: str, answer: str) -> float:
    return 1 / 0


def leaves(question: str, answer: str) -> bool:
    sys.exit(3)


def dies(question: str, answer: str) -> bool:
    os._exit(1)


def nonsense(question: str, answer: str) -> str:
    return "yes"


def beyond(question: str, answer: str) -> float:
    return 1.5


def hangs(question: str, answer: str) -> bool:
    time.sleep(600)
    return True
