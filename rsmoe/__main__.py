"""``rsmoe <command> key=value ...``, or ``python -m rsmoe``: every command under one name."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from rsmoe.cli.entry import listen


def main() -> None:
    """Runs the command that the first word names; without one, lists the commands."""
    before = listen()
    try:
        _run(sys.argv[1:])
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def _run(words: Sequence[str]) -> None:
    from rsmoe.cli.help import COMMANDS, commands_text
    from rsmoe.cli.terminal import printable
    from rsmoe.errors import unknown_name
    from rsmoe.settings import settings_of

    if words[:1] == ["-sc"] or words[:1] == ["--shell-completion"]:
        return _complete(words)
    if not words or words[0] in ("-h", "--help"):
        return print(commands_text())
    if words[0] not in COMMANDS:
        sys.exit(f"error: {printable(str(unknown_name('command', words[0], COMMANDS)), lines=False)}")
    import_module(settings_of(words[0]).module).cli(words[1:])


def _complete(words: Sequence[str]) -> None:
    """Hydra's completion, which knows programs without commands: ``rsmoe train seed=`` is asked as ``rsmoe seed=``."""
    from rsmoe.cli.help import COMMANDS
    from rsmoe.settings import settings_of

    line = os.environ.get("COMP_LINE", "")
    typed = line.split()
    command = typed[1] if len(typed) > 1 else ""
    if any(word.startswith("query=") for word in words):
        if command not in COMMANDS or (len(typed) == 2 and not line.endswith(" ")):
            print(" ".join(name for name in COMMANDS if name.startswith(command)))
            return
        start = line.index(command)
        shorter = line[:start] + line[start + len(command) :].lstrip()
        point = int(os.environ.get("COMP_POINT", len(line)))
        os.environ |= {"COMP_LINE": shorter, "COMP_POINT": str(max(point - len(line) + len(shorter), 0))}
    import_module(settings_of(command if command in COMMANDS else "train").module).cli(words)


if __name__ == "__main__":
    main()
