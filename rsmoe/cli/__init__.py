"""Between the shell and the work: words, checks, help, sweeps, and errors of one line.

`entry.main` makes a command of a function. Its keys are those of `rsmoe.settings`, its default values are in ``conf/``.
"""

from rsmoe.cli.entry import Interrupted, main

__all__ = ["Interrupted", "main"]
