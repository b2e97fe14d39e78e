"""Short or long form of the reliability tests, and their counts (``make soak``).

``RSMOE_SOAK=<folder>`` asks for the long form; ``counts.json`` and the table of ``README.md`` are written there. Tests
tell what happened by ``record_property("struck" | "input", ...)``; other batteries are counted by passed and failed.
"""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

SOAK = os.environ.get("RSMOE_SOAK", "")
LONG = bool(SOAK)
OUTCOMES = ("clear error", "right answer", "unclear error", "traceback", "silent acceptance", "hang")
BATTERIES = {
    "test_a_wrong_value_is_one_line_with_its_key": "wrong words of a command line",
    "test_wrong_values_are_one_line": "wrong values of parts in yaml",
    "test_what_a_checkpoint_names_is_never_run": "attempts on checkpoints",
}
"""Tests of other files that are counted, and what a case of each is."""


class Counts:
    """What the tests of one session came to."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.struck: Counter[str] = Counter()
        self.inputs: Counter[str] = Counter()
        self.held: dict[str, Counter[str]] = {what: Counter() for what in BATTERIES.values()}
        self.failed: list[str] = []

    def add(self, report: Any) -> None:
        """One of pytest's reports."""
        if report.when != "call":
            return
        if report.failed:
            self.failed.append(report.nodeid)
        for key, value in report.user_properties:
            if key == "struck":
                self.struck[f"{value}: {'resumed' if report.passed else 'FAILED'}"] += 1
            if key == "input":
                self.inputs[value] += 1
        what = BATTERIES.get(report.nodeid.partition("::")[2].partition("[")[0])
        if what:
            self.held[what]["refused" if report.passed else "not refused"] += 1

    def write(self, folder: Path) -> None:
        """Writes ``counts.json``, and the table of ``README.md`` where there is one."""
        found = {
            "date": str(date.today()),
            "machine": f"{len(os.sched_getaffinity(0))} cores of {_processor()}, Python {platform.python_version()}",
            "minutes": round((time.monotonic() - self._began) / 60, 1),
            "signals": dict(sorted(self.struck.items())),
            "files": {name: self.inputs[name] for name in OUTCOMES},
            "batteries": {what: dict(held) for what, held in self.held.items()},
            "failed": sorted(self.failed),
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "counts.json").write_text(json.dumps(found, indent=2) + "\n")
        readme = folder / "README.md"
        if readme.is_file():
            text = re.sub(
                r"(?s)(?<=<!-- counts -->\n).*(?=<!-- end -->)", lambda _: self._table(found), readme.read_text()
            )
            readme.write_text(text)

    def _table(self, found: dict[str, Any]) -> str:
        rows = [
            f"{found['date']}, {found['machine']}, {found['minutes']} minutes.",
            "",
            "| what | count |",
            "|---|---|",
        ]
        rows += [f"| {what} | {n} |" for what, n in found["signals"].items()]
        rows += [f"| broken files and servers: {what} | {n} |" for what, n in found["files"].items()]
        rows += [f"| {what}: {k} | {n} |" for what, held in found["batteries"].items() for k, n in held.items()]
        return "\n".join([*rows, f"| tests that failed | {len(found['failed'])} |", ""])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
