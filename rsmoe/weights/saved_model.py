"""A model as a folder of config.json, model.safetensors and a model card, as the Hugging Face hub keeps it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from rsmoe.errors import UserError
from rsmoe.files import whole_file, write_text
from rsmoe.trust.checkpoint import check_finite
from rsmoe.weights.bases import LeftOut
from rsmoe.weights.int8 import quantised, restored

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_OTHERS = "a run folder (runs/<experiment>/<time>), a .ckpt file, a folder of save_pretrained"
_KEPT = (
    "config", "codec", "instruction_codec", "built", "change_classes", "dialogues", "dense", "stage", "start_method",
)  # fmt: skip
"""Of a checkpoint's hyper-parameters: what asking the model needs."""
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""Names of safetensors."""


def is_saved_model(folder: Path) -> bool:
    """Whether a folder is one that `save_model` wrote."""
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def save_model(
    folder: Path,
    model: nn.Module,
    checkpoint: Mapping[str, Any],
    *,
    version: str,
    dtype: torch.dtype | None = None,
) -> Path:
    """Writes the weights of a model as they are now, and of its checkpoint what builds it again.

    Args:
        folder: made where it is missing.
        model: that was loaded from ``checkpoint``.
        checkpoint: see `rsmoe.training.checkpoints.load_checkpoint`.
        version: of rsmoe.
        dtype: of the file's fractions; None: as the model has them, int8: see `rsmoe.weights.int8`. It is computed with
            as before.

    Returns:
        the folder.

    Raises:
        UserError: it cannot be written, or a weight is too large for ``dtype``.
    """
    from safetensors.torch import save_file

    own = model.state_dict()
    first = {name: rows for base in LeftOut.from_checkpoint(checkpoint) for name, (rows, _) in base.tensors.items()}
    names = [name.removeprefix("model.") for name in checkpoint["state_dict"] if name.startswith("model.")]
    ties = _ties(model, names)
    # of a table that has grown, the new rows
    state = {
        name: (own[name][first[name] :] if name in first else own[name]).detach().cpu().contiguous().clone()
        for name in names
        if name not in ties
    }
    if dtype == torch.int8:
        check_finite(state)
        state = quantised(state)
    elif dtype is not None:
        state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
        check_finite(state)
    kept = checkpoint["hyper_parameters"]
    described = {
        "model_type": "rsmoe",
        "rsmoe_version": version,
        "hyper_parameters": {key: kept[key] for key in _KEPT if key in kept},
        "bases": list(checkpoint.get("bases", [])),
        "ties": ties,
    }
    with whole_file(folder / WEIGHTS) as part:
        save_file(state, part, metadata={"format": "pt"})
    write_text(folder / CONFIG, json.dumps(described, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / "README.md", _card(model, described))
    return folder


def read_model(folder: Path, *, weights: bool = True) -> dict[str, Any]:
    """What `save_model` wrote, in the form of a checkpoint; it is checked like one before anything is built.

    Args:
        weights: False leaves the tensors on the meta device.

    Raises:
        UserError: a file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    from rsmoe.data.files.json_text import read_json

    described = read_json(folder / CONFIG)
    if not isinstance(described, dict) or described.get("model_type") != "rsmoe":
        raise UserError(f"{folder / CONFIG} is not of a model of rsmoe: expected model_type 'rsmoe'")
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            names = list(file.keys())
            state = {f"model.{n}": file.get_tensor(n) for n in names} if weights else {}
            for name in () if weights else names:
                part = file.get_slice(name)
                state[f"model.{name}"] = torch.empty(part.get_shape(), dtype=_DTYPES[part.get_dtype()], device="meta")
        state = restored(state)
        state |= {f"model.{n}": state[f"model.{first}"] for n, first in dict(described.get("ties", {})).items()}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{folder / WEIGHTS} is truncated or damaged ({error}). Copy or download it again") from error
    kept = {"hyper_parameters": {}, "bases": [], "rsmoe_version": ""}
    found = {key: described.get(key, default) for key, default in kept.items()}
    return {"state_dict": state, **found}


def fetch_model(name: str) -> Path:
    """The folder of a model on the Hugging Face hub, fetched where it is not in the cache.

    Raises:
        UserError: ``name`` is no name of the hub, or it cannot be had.
    """
    if not _REPOSITORY.fullmatch(name):
        raise UserError(f"no checkpoint at {name}; give starter, {_OTHERS}, or <owner>/<model> of the Hugging Face hub")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"no checkpoint at {name}, and the Hugging Face hub does not give a model of this name: {reason}. Give "
            f"starter, {_OTHERS}, or <owner>/<model>"
        ) from error


def push_model(
    repo_id: str, model: nn.Module, checkpoint: Mapping[str, Any], *, version: str, private: bool, token: str | None
) -> str:
    """Uploads what `save_model` writes; the address of the commit.

    Raises:
        UserError: the hub refuses it, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if not _REPOSITORY.fullmatch(repo_id):
        raise UserError(f"repo_id={repo_id!r}: expected <owner>/<model>")
    api = HfApi(token=token)
    with TemporaryDirectory(prefix="rsmoe-") as folder:
        save_model(Path(folder), model, checkpoint, version=version)
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            commit = api.upload_folder(folder_path=folder, repo_id=repo_id, commit_message="rsmoe model")
        except (HfHubHTTPError, OSError) as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise UserError(f"{repo_id} cannot be uploaded: {reason}. Log in first: hf auth login") from error
    return str(getattr(commit, "commit_url", commit))


def _ties(model: nn.Module, names: Sequence[str]) -> dict[str, str]:
    """Name of each weight that is another one too -> the name of that one: safetensors keeps no weight twice."""
    places: dict[int, str] = {}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    same = {name: places.setdefault(id(parameters[name]), name) for name in names if name in parameters}
    return {name: first for name, first in same.items() if name != first}


def _card(model: Any, described: Mapping[str, Any]) -> str:
    config = described["hyper_parameters"]["config"]
    bases = [f"- {base.name} ({base.part}, sha256 {base.sha256[:16]})" for base in LeftOut.from_checkpoint(described)]
    pictures = f"{config['bands']} bands, seen as {config['image_size']} x {config['image_size']} pixels"
    experts = [f"- `{expert.name}`: {', '.join(expert.tasks)}" for expert in model.experts]
    return "\n".join(
        [
            "---", "library_name: rsmoe", "pipeline_tag: image-text-to-text",
            "tags: [remote-sensing, mixture-of-experts, vision-language]", "---", "",
            f"# {config.get('name', 'rsmoe')}", "",
            f"A mixture-of-experts vision-language model for remote sensing imagery: {pictures}.", "",
            "```python", "import rsmoe", "", 'model = rsmoe.load("<this repository or folder>")',
            'print(model.ask("image.tif", "Describe this image.").text)', "```", "", "Experts:", "", *experts,
            *(["", "Needs these weights beside it:", "", *bases] if bases else []), "",
        ]
    )  # fmt: skip
