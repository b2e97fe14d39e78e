"""A data set, as commands name it."""

from __future__ import annotations

from pydantic import Field

from rsmoe.settings.model import OpenSettings, Settings
from rsmoe.settings.types import PathWord


class Root(Settings):
    """Where data sets are that a config names elsewhere."""

    root: PathWord | None = Field(description="folder of the data set, or of several by name; null: $RSMOE_DATA")


class Release(OpenSettings):
    """A choice of ``conf/data``; its other keys are those of its reader."""

    root: PathWord | None = Field(None, description="its folder, or one that holds it by name; null: $RSMOE_DATA")
