"""Checks the words of a command, then lets Hydra run it."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from rsmoe.command.entry import Interrupted
from rsmoe.errors import UserError
from rsmoe.terminal import printable


def run(name: str, task: Callable[[Any], None], words: Sequence[str], typed: list[str]) -> None:
    """Runs a command.

    Args:
        name: of the command.
        task: what it does with its config.
        words: of the command line.
        typed: ``sys.argv``, which processes that the task starts are started with.

    Raises:
        UserError: what the user can mend; of a sweep, which of its jobs failed and why.
    """
    if {"--help", "-h"} & set(words):
        from rsmoe.command.help import help_text

        print(help_text(name))
        return
    from rsmoe.command.check import checked

    full_error = os.environ.get("HYDRA_FULL_ERROR")
    warnings.formatwarning = _warning
    spelled = checked(name, words)
    import hydra

    from rsmoe.command.jobs import Jobs
    from rsmoe.config import conf_dir

    jobs = Jobs(name, task, typed, raw=full_error == "1")
    sys.argv = [typed[0], *spelled]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here, Hydra does not print them
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(jobs)()
    except Interrupted:
        raise
    except Exception as error:
        if full_error == "1" or (line := jobs.line(error)) is None:
            raise
        raise UserError(line) from error
    finally:
        if full_error is None:
            os.environ.pop("HYDRA_FULL_ERROR", None)
    jobs.report()


def _warning(message: Any, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    return f"{filename}:{lineno}: {category.__name__}: {printable(str(message))}\n"
