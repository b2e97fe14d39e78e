"""What ``metrics.json`` says of a run, and which runs are one method over seeds."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from typing import Any

import torch

from rsmoe.model import RSMoE

_NOT_METHOD = (
    "seed", "resume", "data", "logger", "trainer", "checkpoint_every", "validation", "objective",
)  # fmt: skip
"""Keys of a config that leave the method as it is."""


def run_facts(model: RSMoE, config: Mapping[str, Any], *, start_method: str = "") -> dict[str, Any]:
    """What ``metrics.json`` says of a model and of how it was trained.

    Args:
        start_method: `start_of` the checkpoint that the run began with; "" without one.
    """
    return {
        "name": config["name"],
        "seed": config["seed"],
        "hardware": f"{torch.get_num_threads()} threads of {platform.processor() or platform.machine()}"
        if not torch.cuda.is_available()
        else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "router": {"name": config["router"]["_target_"], "told_the_task": not model.dense and model.router.reads_label},
        "parameters": sum(p.numel() for p in model.parameters()),
        "config_sha256": hash_of({**config, "resume": None}),  # a run that went on is the same run
        "method_sha256": method_of(config, start_method=start_method),
        "start_method": start_method,
    }


def method_of(config: Mapping[str, Any], *, start_method: str) -> str:
    """Hash of what makes a number: the model, its stages, the corpus, the batches, how answers are decoded, and the
    method of the run that it started from.

    The seed, the places of files (of that run, too), and how the work is done (trainer, loader processes, validation,
    checkpoints) are left out: runs that share the hash are one method, over seeds.
    """
    loader = {k: v for k, v in config["loader"].items() if k not in ("workers", "eval_batch_size")}
    decoding = {key: config.get("evaluation", {}).get(key) for key in ("beams", "max_new")}
    older = {"start": start_method or bool(config.get("start")), "adapters": sorted(config.get("adapters") or {})}
    kept = {k: v for k, v in config.items() if k not in _NOT_METHOD}
    return hash_of(kept | {"loader": loader, "evaluation": decoding, **older})


def start_of(checkpoint: Mapping[str, Any]) -> str:
    """Hash of a checkpoint to start from that leaves its seed out: of its method, and of how far it is trained."""
    kept = checkpoint["hyper_parameters"]
    method = method_of(kept["config"], start_method=kept.get("start_method", ""))
    return hash_of({"method": method, "stage": kept.get("stage", 0), "step": checkpoint.get("global_step", 0)})


def hash_of(node: Mapping[str, Any]) -> str:
    """16 hex digits that change with a config."""
    return hashlib.sha256(json.dumps(node, sort_keys=True).encode()).hexdigest()[:16]
