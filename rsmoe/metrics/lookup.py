"""Metrics by the id of their protocol: the files of ``conf/metric``, and of the user's own config folder.

``caption/coco-ptb@1`` is in ``metric/caption_coco_ptb.yaml``, its second version in ``metric/caption_coco_ptb_2.yaml``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import yaml

from rsmoe.config_folders import config_folders
from rsmoe.errors import UserError, unknown_name
from rsmoe.metrics.metric import Metric, Protocol
from rsmoe.parts import instantiate


def find_metric(protocol_id: str, *, others: Iterable[Metric] = ()) -> Metric:
    """The metric of a protocol.

    Args:
        protocol_id: with or without "generated/" in front.
        others: metrics that came by config, ``+metric=<name>``; they are looked at first.

    Raises:
        UserError: unknown id; those that exist are named.
    """
    known = protocol_id.removeprefix("generated/")
    others = list(others)
    for metric in others:
        if metric.protocol.id == known:
            return metric
    name = re.sub(r"\W", "_", known.removesuffix("@1"))
    for folder in config_folders():
        path = folder / "metric" / f"{name}.yaml"
        if path.is_file() and (metric := _load(path)).protocol.id == known:
            return metric
    raise unknown_name("protocol", known, [*(m.protocol.id for m in others), *(p.id for p in protocols())])


def metrics() -> list[Metric]:
    """Every metric with a yaml, in the order of the protocols' ids."""
    found = {path.stem: path for folder in config_folders()[::-1] for path in (folder / "metric").glob("*.yaml")}
    return sorted((_load(path) for path in found.values()), key=lambda metric: metric.protocol.id)


def protocols() -> list[Protocol]:
    """Every protocol with a yaml, in the order of their ids."""
    return [metric.protocol for metric in metrics()]


@lru_cache(maxsize=256)
def _load(path: Path) -> Metric:
    metric = instantiate(yaml.safe_load(path.read_text(encoding="utf-8")))
    if not isinstance(metric, Metric):
        raise UserError(f"{path}: expected the _target_ of a rsmoe.metrics.Metric, found {type(metric).__name__}")
    return metric
