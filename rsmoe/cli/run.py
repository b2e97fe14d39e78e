"""Checks the words of a command, then lets Hydra run it."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from rsmoe.cli.entry import Interrupted
from rsmoe.cli.terminal import printable
from rsmoe.config_folders import VARIABLE
from rsmoe.errors import UserError


def run(name: str, task: Callable[[Any], object], words: Sequence[str], typed: list[str]) -> None:
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
        from rsmoe.cli.help import help_text

        print(help_text(name))
        return
    before: list[str] = []
    if name == "train" and any(word.startswith("resume=") and word != "resume=null" for word in words):
        from rsmoe.training.resume import words_of_run

        before = words_of_run(words)
    from rsmoe.cli.check import checked
    from rsmoe.cli.words import split_words

    full_error, folders = os.environ.get("HYDRA_FULL_ERROR"), os.environ.get(VARIABLE)
    warnings.formatwarning = _warning
    spelled = checked(name, words, before=before)
    if folder := split_words(words)[0].config_dir:  # tasks and metrics are looked for there, by every process
        os.environ[VARIABLE] = os.path.abspath(folder)
    import hydra

    from rsmoe.cli.jobs import Jobs, Stopped
    from rsmoe.config import conf_dir

    jobs = Jobs(name, task, typed, raw=full_error == "1")
    sys.argv = [typed[0], *spelled]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here, Hydra does not print them
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(jobs)()
    except Stopped as stopped:
        _tell(stopped.error, jobs, raw=full_error == "1")
    except Exception as error:
        _tell(error, jobs, raw=full_error == "1")
    finally:
        if full_error is None:
            os.environ.pop("HYDRA_FULL_ERROR", None)
        if folders is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = folders
    jobs.report()


def _tell(error: Exception, jobs: Any, *, raw: bool) -> NoReturn:
    if raw or isinstance(error, Interrupted | BrokenPipeError) or (line := jobs.line(error)) is None:
        raise error
    raise UserError(line) from error


def _warning(message: Any, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    return f"{filename}:{lineno}: {category.__name__}: {printable(str(message))}\n"
