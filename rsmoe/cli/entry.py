"""``main`` makes a command of a function.

Modules of commands import no library outside of their functions: ``--help`` needs neither torch nor Hydra, a typing
mistake no torch, and Ctrl-C is heard before anything that takes time.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from rsmoe.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


class Interrupted(UserError):
    """Ctrl-C, with what to type to go on; the exit code is 130."""


class Entry(Protocol):
    """A command; without words it takes those of ``sys.argv``."""

    def __call__(self, words: Sequence[str] | None = None) -> None:
        """Runs it; returns when all went well, exits with one line otherwise."""


def main(name: str) -> Callable[[Callable[[DictConfig], object]], Entry]:
    """Decorator of an entry point: its words are checked against `rsmoe.settings`, then ``hydra.main`` runs it.

    What a user can mend ends in one line, ``error: ...``, and exit code 1; other errors are bugs and keep their
    traceback. The jobs of a sweep behind a failed one run; the failures are told at the end.

    Args:
        name: of the yaml in ``conf/`` and of the module in `rsmoe.settings`.
    """

    def decorate(task: Callable[[DictConfig], object]) -> Entry:
        def entry(words: Sequence[str] | None = None) -> None:
            typed = list(sys.argv)
            before = listen()
            _open_streams()
            try:
                from rsmoe.cli.run import run

                run(name, task, typed[1:] if words is None else list(words), typed)
                sys.stdout.flush()
            except BrokenPipeError:  # | head
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                sys.exit(141)
            except Interrupted as error:
                _stop(str(error), 130)
            except UserError as error:
                _stop(str(error), 1)
            except KeyboardInterrupt:
                _stop("interrupted", 130)
            finally:
                sys.argv = typed
                if before is not None:
                    signal.signal(signal.SIGINT, before)

        return entry

    return decorate


def _stop(message: str, code: int) -> NoReturn:
    from rsmoe.cli.terminal import printable

    line = f"error: {printable(message, lines=False)}"
    if code == 1:
        sys.exit(line)
    print(line, file=sys.stderr)
    sys.exit(code)


def listen() -> Any:
    """Ctrl-C while modules are imported ends the process: libraries catch what is raised there, and go on. What is
    raised in a finalizer is lost, so that it is heard again a moment later.

    Returns:
        the handler to put back at the end; None where somebody else listens.
    """

    def heard(number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                os.write(2, b"error: interrupted\n")
                os._exit(130)
            if frame.f_code.co_name == "__del__":  # Python drops what is raised there, and goes on: say it once more
                again = threading.Timer(0.05, os.kill, (os.getpid(), number))
                again.daemon = True
                again.start()
                return
            frame = frame.f_back
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # somebody else listens
        return None
    try:
        return signal.signal(signal.SIGINT, heard)
    except ValueError:  # not in the main thread
        return None


def _open_streams() -> None:
    """A closed standard output is no error, and neither is a terminal that lacks letters."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
