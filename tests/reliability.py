"""Whether the long form runs (``RSMOE_SOAK=<folder>``, see ``make soak``)."""

from __future__ import annotations

import os

LONG = bool(os.environ.get("RSMOE_SOAK"))
