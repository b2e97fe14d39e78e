"""Counters of a server, as Prometheus reads them."""

from __future__ import annotations

from collections import Counter
from threading import Lock

_OPENAI = ("/v1/models", "/v1/chat/completions", "/v1/embeddings")
_PATHS = ("/", *_OPENAI, "/segment", "/ground", "/change", "/health", "/metrics")


class Counters:
    """Requests, answers and batches since the start."""

    def __init__(self) -> None:
        self.open = 0
        """Requests with a body that are read, wait or are answered now."""
        self._requests: Counter[tuple[str, int]] = Counter()
        self.batches = 0
        """Passes of the model."""
        self._answers, self._seconds = 0, 0.0
        self._lock = Lock()

    def request(self, path: str, status: int) -> None:
        """One more response; paths that do not exist count as "other"."""
        with self._lock:
            self._requests[path if path in _PATHS else "other", status] += 1

    def batch(self, answers: int, seconds: float) -> None:
        """One more pass of the model."""
        with self._lock:
            self._answers += answers
            self.batches += 1
            self._seconds += seconds

    def text(self) -> str:
        """The text format of Prometheus, version 0.0.4."""
        with self._lock:
            requests = [
                f'rsmoe_requests_total{{path="{path}",status="{status}"}} {count}'
                for (path, status), count in sorted(self._requests.items())
            ]
            rows = [
                ("rsmoe_open_requests", "gauge", "Requests that are read, wait or are answered.", self.open),
                ("rsmoe_answers_total", "counter", "Answers and embeddings of the model.", self._answers),
                ("rsmoe_batches_total", "counter", "Passes of the model.", self.batches),
                ("rsmoe_model_seconds_total", "counter", "Seconds spent in these passes.", round(self._seconds, 6)),
            ]
        lines = ["# HELP rsmoe_requests_total Responses by path and status.", "# TYPE rsmoe_requests_total counter"]
        lines += requests
        for name, kind, words, value in rows:
            lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}", f"{name} {value}"]
        return "\n".join(lines) + "\n"
