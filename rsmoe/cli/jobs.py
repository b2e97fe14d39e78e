"""The jobs of a command: one, or those of a sweep."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from rsmoe.cli.check import check_config
from rsmoe.cli.entry import Interrupted
from rsmoe.cli.terminal import printable
from rsmoe.errors import UserError
from rsmoe.settings import settings_of
from rsmoe.settings.model import fields_of, verbatim


class Stopped(BaseException):
    """Ends a command for good: Hydra lets it through, and prints nothing of its own."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Jobs:
    """What Hydra calls for each job.

    Args:
        name: of the command.
        task: what it does.
        typed: ``sys.argv`` as it was typed, with which Lightning starts further processes.
        raw: errors keep their traceback.
    """

    def __init__(self, name: str, task: Callable[[DictConfig], object], typed: list[str], *, raw: bool = False) -> None:
        self.name, self.task, self.typed, self.raw = name, task, typed, raw
        self.done, self.failures = 0, list[str]()
        self._process = os.getpid()
        self._config: dict[str, Any] = {}

    def __call__(self, cfg: DictConfig) -> object:
        """Checks one job and does it; what fails in this process is kept for `report`, so that Hydra goes on.

        Returns:
            what the task returns, for the sweeper; None of a job that failed.
        """
        sys.argv = list(self.typed)
        self.done += 1
        swept = HydraConfig.get().mode == RunMode.MULTIRUN
        try:
            self._config = check_config(settings_of(self.name), cfg)
            return self.task(cfg)
        except KeyboardInterrupt as error:
            raise Stopped(Interrupted("interrupted")) from error
        except Interrupted as error:
            raise Stopped(error) from error
        except Exception as error:
            if self._process != os.getpid():  # of another launcher, which keeps it
                raise
            if not swept or self.raw or isinstance(error, BrokenPipeError):
                raise Stopped(error) from error
            line = self.line(error)
            if line is None:
                print(printable(traceback.format_exc()), file=sys.stderr)
                line = f"{type(error).__name__}: {error}"
            self._failed(line)
        except SystemExit as error:
            if not swept or not error.code:
                raise
            self._failed(str(error.code))
        return None

    def report(self) -> None:
        """Nothing, where every job went well.

        Raises:
            UserError: the jobs that failed, each with its words and its error.
        """
        if self.failures:
            told = "; ".join(self.failures)
            raise UserError(f"{len(self.failures)} of {self.done} jobs failed: {told}")

    def line(self, error: BaseException) -> str | None:
        """What a user can do about an error; None for a bug."""
        for cause in _chain(error):
            if isinstance(cause, UserError):  # out of a loader's worker it comes with that worker's traceback
                return str(cause).rpartition("UserError: ")[2].strip()
            if isinstance(cause, OSError) and not isinstance(cause, BrokenPipeError):
                return self._file_line(cause)
        return None

    def _failed(self, line: str) -> None:
        words = " ".join(OmegaConf.to_container(HydraConfig.get().overrides.task))  # type: ignore[arg-type]
        self.failures.append(f"job {HydraConfig.get().job.num} ({words}): {line}")
        print(f"error: {printable(self.failures[-1], lines=False)}", file=sys.stderr)

    def _file_line(self, error: OSError) -> str:
        reason = error.strerror or str(error)
        places = dict(self._written())
        if error.filename is None:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO):
                return f"cannot write: {reason}. What is written: {', '.join(f'{k}={v}' for k, v in places.items())}"
            return reason
        path = Path(os.fsdecode(error.filename)).absolute()
        near = [
            (len(str(place)), key, place)
            for key, place in places.items()
            if path in (place, *place.parents) or place in path.parents
        ]
        if not near:
            return f"cannot read or write {path}: {reason}"
        _, key, place = max(near)
        remedy = "export RSMOE_CACHE=/path/to/a/folder" if key == "RSMOE_CACHE" else f"give another {key}=..."
        return f"cannot write {path}: {reason} ({key}={place}); {remedy}"

    def _written(self) -> Iterator[tuple[str, Path]]:
        """Keys and variables that say where something is written."""
        settings = settings_of(self.name)
        for key, _ in fields_of(settings):
            kind = verbatim(settings, key)
            value = self._config.get(key)
            if kind and kind[0].written and isinstance(value, str):
                yield key, Path(value).absolute()
        if HydraConfig.initialized() and HydraConfig.get().runtime.output_dir:
            yield "hydra.run.dir", Path(HydraConfig.get().runtime.output_dir).absolute()
        home = os.environ.get("RSMOE_CACHE") or os.path.expanduser("~/.cache/rsmoe")
        yield "RSMOE_CACHE", Path(home).absolute()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
