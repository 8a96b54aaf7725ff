"""A real inference engine for the tests: llama.cpp's own HTTP server (in the `xllamacpp` wheel) on a tiny model of random weights.

By hand: `python -m tests.engines.llama --port 8000`, then point any OpenAI client at http://127.0.0.1:8000/v1.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.engines import tiny_llama

ALIAS = "tiny-llama"
"""as the model of each of `tiny_llama.BUILDS` is called: this is the first one's"""
LONGEST_ANSWER = 256
REPOSITORY = Path(__file__).resolve().parents[2]


class Engine(NamedTuple):
    """One that runs. `base_url` is `http://127.0.0.1:PORT/v1`."""

    base_url: str
    process: subprocess.Popen[str]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It hears, and answers nothing until the block ends."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Nothing listens at its address any more."""
        self.process.kill()
        self.process.wait(10)


@contextmanager
def running_engine(directory: Path) -> Iterator[str]:
    """The base URL of a tiny engine that runs until the block ends."""
    with started(directory, "tiny") as engine:
        yield engine.base_url


@contextmanager
def started(directory: Path, build: str) -> Iterator[Engine]:
    """Starts an engine in a process of its own on a free port, with one of `tiny_llama.BUILDS`.

    Raises RuntimeError with the engine's last words when it does not come up.
    """
    words = directory / f"{build}.log"
    command = [sys.executable, "-m", "tests.engines.llama", "--directory", str(directory), "--build", build, "--end-with-stdin"]
    with words.open("wb") as log:
        engine = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    with engine:
        assert engine.stdout is not None
        try:
            base_url = engine.stdout.readline().strip()
            if not base_url:
                raise RuntimeError(f"the llama.cpp engine did not start: {words.read_text(errors='replace')[-1000:]}")
            yield Engine(base_url, engine)
        finally:
            engine.kill()


def serve(directory: Path, port: int, build: str, *, end_with_stdin: bool) -> None:
    """Writes the model, serves it, prints the base URL, and stays until killed (or until stdin closes)."""
    import xllamacpp

    model = directory / f"{build}.gguf"
    tiny_llama.write(model, tiny_llama.BUILDS[build])
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {f"{build}-llama"}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = 2 * tiny_llama.CONTEXT
    params.n_parallel = 2
    params.n_threads_http = 16  # an idle connection keeps a thread for 5 s, and clients keep several
    params.n_predict = LONGEST_ANSWER
    params.cpuparams.n_threads = 1
    params.endpoint_metrics = True
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.use_jinja = True
    params.warmup = False
    server = xllamacpp.Server(params)
    print(f"{server.listening_address}/v1", flush=True)
    if end_with_stdin:
        sys.stdin.read()
    else:
        signal.pause()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.engines.llama", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--build", choices=tiny_llama.BUILDS, default="tiny")
    parser.add_argument("--directory", type=Path, help="where the model file is written; default: a temporary one")
    parser.add_argument("--end-with-stdin", action="store_true", help="stop when stdin closes, so that no engine outlives its test")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.directory or Path(temporary)
        serve(directory, options.port, options.build, end_with_stdin=options.end_with_stdin)


if __name__ == "__main__":
    main()
