"""What it costs to turn prompts into vectors: CPU per prompt, beside sentence-transformers on the same prompts and weights.

`python -m bench.embed --peer PYTHON [--prompts FILE] [--json]`. PYTHON is an interpreter that has sentence-transformers; without it only
our own figures are shown. Both embed the same prompts by turns, round after round, with one thread each: one prompt at a time, and 32 at
once. CPU is that of the whole process, tokenising and (ours) the way through the event loop and the embedder's thread included; nothing is
taken from a cache. What else runs on the machine only adds, so each batch counts with the least of its rounds; the medians stand beside.
FILE: JSON lines with `prompt`, of which the first 64 are taken; else 64 questions of this file, 12 tokens on average.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is loaded: threads of it that spin take the core from what is measured

import numpy as np

from bench.rig import machine
from penstock.adapters.embedders.bert import read
from penstock.adapters.embedders.minilm import OrtEmbedder
from penstock.adapters.embedders.tokens import Tokens
from penstock.adapters.embedders.weights import find

BATCH, PROMPTS = 32, 64
SINGLE_BAR, BATCHED_BAR, DIFFERENCE_BAR = 0.35, 0.15, 1e-5
PEER = """
import json, sys, time
import torch
torch.set_num_threads(1)
torch.set_num_interop_threads(1)
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
for line in sys.stdin:
    batches = json.loads(line)
    took, vectors = [], []
    for batch in batches:
        began = time.process_time()
        found = model.encode(batch, batch_size=len(batch), normalize_embeddings=True, show_progress_bar=False)
        took.append(time.process_time() - began)
        vectors += found.tolist()
    print(json.dumps({"cpu_s": took, "vectors": vectors}), flush=True)
"""
QUESTIONS = """\
How do I reset my password?
What is the capital of Australia?
Can I change the delivery address of an order?
My card was charged twice, what should I do?
Where can I see my last invoice?
How long does a refund take?
Which plan includes single sign-on?
How do I cancel my subscription before it renews?
What does error 502 mean when I upload a file?
Do you ship to Norway, and what does it cost?
How can I export all of my data as CSV?
Is there a discount for schools and universities?
Write a polite reply to a customer who wants a refund.
Summarise the terms of service in three sentences.
How do I add a colleague to my workspace?
What is the difference between the basic and the pro plan?
Translate "good morning" into Portuguese.
Why is my parcel still in customs?
How do I turn on two-factor authentication?
Give me a regular expression for e-mail addresses.
Can I use the same account on two phones?
What happens to my files when I downgrade?
How do I connect the printer to the wireless network?
Who wrote The Old Man and the Sea?
What is the boiling point of water at 3,000 metres?
How do I undo the last commit in git?
Show me a recipe for lentil soup.
How many days of leave do I have left?
What is the deadline for travel expenses?
Which documents do I need to open an account?
How can I block a stolen card?
What is the exchange rate for transfers abroad?
How do I write a for loop in Rust?
Explain the difference between a list and a tuple.
My screen stays black after the update.
How do I set the language to Spanish?
Are the batteries included?
Can I return shoes that I have worn once?
What is the warranty on refurbished laptops?
How do I read a Parquet file in Python?
What does HTTP 429 tell a client?
Is breakfast part of the price of the room?
At what time can I check in?
How do I get from the airport to the hotel?
Can I bring a dog on the train?
What is the penalty for late payment?
How is the interest on my savings computed?
Please draft an agenda for Monday's meeting.
What are the side effects of ibuprofen?
How much water should I drink in a day?
Which vaccines do I need for Kenya?
What is a good name for a bakery?
How do I centre a div?
Why does my query not use the index?
How do I make a chart with two axes?
Convert 72 degrees Fahrenheit to Celsius.
What is the square root of 1,764?
How do I renew my passport while I live abroad?
Can the invoice be made out to my company?
How do I mute notifications at night?
What is our policy on working from another country?
How do I ask for access to the production database?
Which meeting rooms have a video system?
When does the canteen close on Fridays?"""


class Peer:
    """sentence-transformers in another interpreter: a line of batches in, a line of figures out."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child

    def embed(self, batches: Sequence[Sequence[str]]) -> tuple[list[float], np.ndarray[Any, Any]]:
        """CPU seconds of each batch, and all vectors."""
        assert self._child.stdin is not None and self._child.stdout is not None
        print(json.dumps(batches), file=self._child.stdin, flush=True)
        line = self._child.stdout.readline()
        if not line:
            sys.exit("error: the peer ended\nhint: --peer names a Python that has sentence-transformers and torch")
        told = json.loads(line)
        return told["cpu_s"], np.array(told["vectors"], np.float32)


@contextmanager
def peer(python: str | None, folder: Path) -> Iterator[Peer | None]:
    if python is None:
        yield None
        return
    environ = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    command = [python, "-c", PEER, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ
    ) as child:
        yield Peer(child)
        assert child.stdin is not None
        child.stdin.close()


async def ours(embedder: OrtEmbedder, batches: Sequence[Sequence[str]]) -> tuple[list[float], np.ndarray[Any, Any]]:
    """The same of our own."""
    cpu_s, found = [], []
    for batch in batches:
        began = time.process_time()
        found.append((await embedder.embed(batch)).vectors)
        cpu_s.append(time.process_time() - began)
    return cpu_s, np.concatenate(found)


async def measure(prompts: list[str], folder: Path, python: str | None, rounds: int) -> dict[str, Any]:
    embedder = OrtEmbedder(folder, kept=0)
    ways = {
        "single": [[prompt] for prompt in prompts],
        "batched": [prompts[start : start + BATCH] for start in range(0, len(prompts), BATCH)],
    }
    taken: dict[str, list[list[float]]] = {}
    difference: float | None = None
    with peer(python, folder) as other:
        for number in range(rounds + 1):
            for name, batches in ways.items():
                cpu_s, vectors = await ours(embedder, batches)
                taken.setdefault(name, []).append(cpu_s)
                if other is not None:
                    cpu_s, theirs = other.embed(batches)
                    taken.setdefault(f"peer_{name}", []).append(cpu_s)
                    difference = max(difference or 0.0, float(np.abs(vectors - theirs).max()))
            if number == 0:  # it warmed up
                taken.clear()
    await embedder.close()
    return {
        "machine": machine(),
        "prompts": len(prompts),
        "tokens": sum(map(len, Tokens(read(folder)).of(prompts))) / len(prompts),
        "batch": BATCH,
        "rounds": rounds,
        "max_difference": difference,
        **figures(taken, len(prompts)),
    }


def figures(taken: dict[str, list[list[float]]], prompts: int) -> dict[str, Any]:
    """Milliseconds per prompt, by the least and by the median of each batch's rounds, and ours as a ratio to the peer's."""
    found: dict[str, Any] = {}
    for name, of in (("least", min), ("median", median)):
        ms = {way: sum(map(of, zip(*rounds, strict=True))) / prompts * 1e3 for way, rounds in taken.items()}
        found[f"{name}_ms"] = ms
        if "peer_single" in ms:
            found[f"{name}_ratios"] = {
                "single": ms["single"] / ms["peer_single"],
                "batched": ms["batched"] / ms["peer_single"],
                "batched_to_batched": ms["batched"] / ms["peer_batched"],
            }
    return found


def report(result: dict[str, Any]) -> str:
    lines = [
        f"machine: {result['machine']}",
        f"{result['prompts']} prompts, {result['tokens']:.1f} tokens on average",
        f"CPU ms per prompt, least (median) of {result['rounds']} rounds",
    ]
    for name, ways in (("Penstock", ("single", "batched")), ("sentence-transformers", ("peer_single", "peer_batched"))):
        if ways[0] in result["least_ms"]:
            one, many = (f"{result['least_ms'][way]:6.2f} ({result['median_ms'][way]:.2f})" for way in ways)
            lines.append(f"{name:22} one {one}   of {BATCH} {many}")
    if "least_ratios" in result:
        told = (
            ("single", "one prompt", f" (bar {SINGLE_BAR})"),
            ("batched", f"{BATCH} against its one", f" (bar {BATCHED_BAR})"),
            ("batched_to_batched", f"{BATCH} against its {BATCH}", ""),
        )
        lines += [f"{label:22} {result['least_ratios'][key]:.3f} x ({result['median_ratios'][key]:.3f}){bar}" for key, label, bar in told]
        lines.append(f"largest difference     {result['max_difference']:.1e} (bar {DIFFERENCE_BAR:.0e})")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has sentence-transformers")
    parser.add_argument("--prompts", type=Path, metavar="FILE", help="JSON lines with `prompt`")
    parser.add_argument("--embedder", default="minilm", help="package, directory or hub name (default minilm)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of which the least counts (default 10)")
    options = parser.parse_args()
    prompts = QUESTIONS.splitlines()
    if options.prompts is not None:
        prompts = [json.loads(line)["prompt"] for line in options.prompts.read_text("utf-8").splitlines()[:PROMPTS]]
    folder = find(options.embedder, Path.cwd(), os.environ)
    result = asyncio.run(measure(prompts, folder, options.peer, options.rounds))
    print(json.dumps(result, indent=2) if options.json else report(result))


if __name__ == "__main__":
    main()
