"""A real Prometheus on a free port, in a directory that holds its prometheus.yml, asked over its HTTP API; and a page for it to scrape."""

import json
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.acceptance.serving import wait_until
from tests.conftest import service_missing

Sample = tuple[dict[str, str], float]


class Prometheus:
    """One that runs."""

    def __init__(self, address: str) -> None:
        self.address = address

    def query(self, expr: str) -> list[Sample]:
        """Labels and value of each series now. An expression that does not parse or evaluate fails the test."""
        answer = self._get("/api/v1/query", query=expr)
        assert answer["status"] == "success", f"{expr}: {answer.get('error')}"
        return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]

    def value(self, expr: str) -> float | None:
        """The one value, None while there is none."""
        found = self.query(expr)
        assert len(found) <= 1, found
        return found[0][1] if found else None

    def firing(self) -> set[str]:
        alerts = self._get("/api/v1/alerts")["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _get(self, path: str, **query: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self.address}{path}?{urllib.parse.urlencode(query)}", timeout=15) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                found = json.load(error)
        return found


@contextmanager
def prometheus(directory: Path) -> Iterator[Prometheus]:
    """Serves until the block ends; skipped where there is no Prometheus."""
    if shutil.which("prometheus") is None:
        service_missing("Prometheus", "its program is not on the path")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}"]
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    running = Prometheus(f"http://127.0.0.1:{port}")
    try:
        wait_until(running.ready, "Prometheus to be ready")
        yield running
    finally:
        process.terminate()
        process.wait(20)


class TextExporter(ThreadingHTTPServer):
    """Stands in for an exporter: serves the text that it is given, at any path, to GET and POST; remembers what headers it saw."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Page)
        self.text = ""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.address = f"127.0.0.1:{self.server_address[1]}"


class _Page(BaseHTTPRequestHandler):
    server: TextExporter

    def do_GET(self) -> None:
        body = self.server.text.encode()
        self.server.headers = {name.lower(): value for name, value in self.headers.items()}
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(self.server.status)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def exporting() -> Iterator[TextExporter]:
    """Serves until the block ends, or until it is shut down."""
    exporter = TextExporter()
    thread = threading.Thread(target=exporter.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield exporter
    finally:
        exporter.shutdown()
        exporter.server_close()
        thread.join()
