"""Loading transformers checkpoints: by name or folder, with errors that a user can act on."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import nn

from rsmoe.errors import UserError
from rsmoe.weights.undrawn import Undrawn

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_register = nn.Module.register_parameter
_asked = False  # whether a checkpoint is being opened, see `without_weights`


def source(name: str) -> tuple[str, dict[str, Any]]:
    """Where a pretrained checkpoint is, and what ``from_pretrained`` has to know.

    The environment variable RSMOE_MOVED says where folders are by now: ``old=new``, several with ":" between them. A
    folder within ``old`` is looked for within ``new``, and a name of the hub can be given a folder.

    Args:
        name: a local folder, or a name on the Hugging Face hub, with ``@commit`` behind it or without.

    Returns:
        an absolute folder or a name, and keyword arguments.

    Raises:
        UserError: RSMOE_MOVED is of another form, or there is no such folder.
    """
    path = Path(name).expanduser()
    local = path.is_absolute() or path.exists() or name.startswith((".", "~"))
    found, _, commit = (str(path.absolute()), "", "") if local else name.partition("@")
    for pair in filter(None, os.environ.get("RSMOE_MOVED", "").split(os.pathsep)):
        old, equals, new = pair.partition("=")
        old = old.rstrip("/")
        if not (old and equals and new):
            raise UserError(f"RSMOE_MOVED={pair}: expected old=new, with {os.pathsep!r} between several")
        if found == old or found.startswith(f"{old}/"):
            found, local = str(Path(new + found[len(old) :]).expanduser().absolute()), True
            break
    if local:
        if not Path(found).is_dir():
            raise UserError(
                f"no folder {found}, where pretrained weights should be. Fill it (hf download <name> --local-dir "
                f"{found}), give another, or say where it has moved: export RSMOE_MOVED={name}=/new/folder"
            )
        return found, {"trust_remote_code": False}
    options = {"trust_remote_code": False, "local_files_only": _asked or not reachable()}
    return found, options | ({"revision": commit} if commit else {})


def commit_of(name: str) -> str | None:
    """Commit of what was fetched from the hub under this name; None of a folder."""
    place, options = source(name)
    if Path(place).is_dir():
        return None
    from huggingface_hub import try_to_load_from_cache  # here, as everywhere in this file: a folder needs no hub

    file = try_to_load_from_cache(place, "config.json", revision=options.get("revision"))
    return Path(file).parent.name if isinstance(file, str) else None  # .../snapshots/<commit>/config.json


def load_config(name: str) -> PretrainedConfig:
    """The config of a checkpoint.

    Args:
        name: see `source`.

    Raises:
        UserError: there is none, or it cannot be fetched.
    """
    from transformers import AutoConfig  # here: a second, which a model without pretrained parts does not need

    place, options = source(name)
    with explained(place, options):
        config: PretrainedConfig = AutoConfig.from_pretrained(place, **options)
    return config


def load_pretrained(
    model: Any, name: str, *, dtype: torch.dtype = torch.float32, key_mapping: dict[str, str] | None = None,
    **kwargs: Any,
) -> Any:  # fmt: skip
    """A model in eval mode with every weight taken from the checkpoint, none left at random.

    Args:
        model: transformers class; tensors of the checkpoint that it has no place for are left out.
        name: see `source`.
        dtype: of its weights.
        key_mapping: regular expression -> replacement, for the checkpoint's parameter names.
        kwargs: of ``from_pretrained``.

    Raises:
        UserError: the checkpoint cannot be read, or lacks weights, or they have other shapes.
    """
    place, options = source(name)
    with explained(place, options), with_weights(), torch.device("cpu"):
        loaded, told = model.from_pretrained(
            place, key_mapping=key_mapping, dtype=dtype, output_loading_info=True, **options, **kwargs
        )
    if missing := sorted(told["missing_keys"]):
        raise UserError(
            f"checkpoint {place!r} lacks {len(missing)} weights of {type(loaded).__name__}, first: "
            f"{', '.join(missing[:5])}. Give a checkpoint of that architecture"
        )
    return loaded.eval()


def check_weights(name: str) -> None:
    """Refuses a folder without a config or weights, or a name that cannot be reached, before anything is built on it.

    Raises:
        UserError: what is missing.
    """
    load_config(name)
    folder = Path(source(name)[0])
    if not folder.is_dir():
        return  # a name on the hub, whose weights come when they are needed
    whole = [folder / weights for weights in ("model.safetensors", "pytorch_model.bin")]
    shards = [index for path in whole if (index := Path(f"{path}.index.json")).is_file()]
    if shards and not any(path.is_file() for path in whole):
        with explained(str(folder)):
            named = set(json.loads(shards[0].read_text(encoding="utf-8"))["weight_map"].values())
        if missing := sorted(shard for shard in named if not (folder / shard).is_file()):
            raise UserError(f"{folder} lacks {len(missing)} of {len(named)} files of its weights: {missing[0]} ...")
    elif not any(path.is_file() for path in whole):
        raise UserError(
            f"{folder} has a config.json and no weights: expected model.safetensors, its shards with "
            f"model.safetensors.index.json, or pytorch_model.bin"
        )


def reachable() -> bool:
    """Whether the hub may be asked: not under HF_HUB_OFFLINE=1, nor without a network, where its client would go on
    trying for half a minute."""
    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and _answers()


@cache
def _answers() -> bool:
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # those of whichever client is installed
        return False
    return True


def rebuilding() -> bool:
    """Whether parts are built `without_weights`, for those of a checkpoint."""
    return _asked


@contextmanager
def without_weights() -> Iterator[None]:
    """Parameters of modules that are built within are on the meta device: a checkpoint's tensors take their places.

    Buffers hold their numbers, since some are in no checkpoint (rotary frequencies, places). What `load_pretrained`
    loads is whole, and comes from this machine alone: opening a checkpoint fetches nothing.
    """
    global _asked
    _asked = True
    try:
        with _registering(_as_meta), Undrawn():
            yield
    finally:
        _asked = False


@contextmanager
def with_weights() -> Iterator[None]:
    """Within `without_weights`, a part that begins with pretrained weights."""
    with _registering(_register):
        yield


@contextmanager
def _registering(function: Callable[..., None]) -> Iterator[None]:
    before = nn.Module.register_parameter
    nn.Module.register_parameter = function  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = before  # type: ignore[method-assign]


def _as_meta(module: nn.Module, name: str, given: nn.Parameter | None) -> None:
    # memory that nothing was written to costs nothing, and what would draw numbers next finds none to write to
    real = given is not None and given.device.type != "meta"
    _register(module, name, nn.Parameter(given.to("meta"), given.requires_grad) if real else given)  # type: ignore[union-attr]


def on_meta_device() -> bool:
    """Whether modules are being built under ``torch.device("meta")``: shapes only, so that nothing is to be loaded."""
    return torch.get_default_device().type == "meta"


def parent_of(module: nn.Module, path: str) -> tuple[nn.Module, str]:
    """("a.b.c") -> (module.a.b, "c")."""
    parent, _, leaf = path.rpartition(".")
    return module.get_submodule(parent), leaf


@contextmanager
def explained(name: str, options: Mapping[str, Any] | None = None) -> Iterator[None]:
    """One line for whatever transformers raises while it reads ``name`` with ``options``, and none of its reports.

    Raises:
        UserError: what it said, and what to type.
    """
    from transformers.utils import logging  # here: see `load_config`

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # its load report lists a text tower's weights, which are left out on purpose
    logging.disable_progress_bar()
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        if "flash" not in str(error).lower():
            raise _unreadable(name, error, (options or {}).get("revision")) from error
        raise needs_flash() from error
    except Exception as error:  # broken files end in whatever their parser meets first
        raise _unreadable(name, error, (options or {}).get("revision")) from error
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def needs_flash() -> UserError:
    """What to install for flash attention."""
    return UserError(
        "lm.attention=flash_attention_2 needs a package that is not installed: pip install 'rsmoe[flash]' (for NVIDIA "
        "GPUs), or leave the key out"
    )


def _unreadable(name: str, error: Exception, commit: str | None) -> UserError:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    reason = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1]) or type(error).__name__
    if "ignore_mismatched_sizes" in reason:
        reason = "its weights have other shapes than its config.json says."
    elif "Weights only load failed" in reason:
        reason = "its pytorch_model.bin holds code, which is not run, or is damaged. Save it as model.safetensors."
    elif isinstance(error, SafetensorError | EOFError | pickle.UnpicklingError | struct.error):
        reason = f"a damaged file, fetch it again ({reason})."
    if Path(name).is_dir():
        return UserError(
            f"cannot load {name}: {reason} Expected a folder with config.json and weights, as save_pretrained writes"
        )
    if _asked:
        reason = "it is not in this machine's cache, and opening a checkpoint fetches nothing."
    return UserError(
        f"cannot load {name!r}: {reason} Expected a local folder with config.json and weights (what save_pretrained "
        f"writes), or a name on huggingface.co that this machine can reach; where there is a network: hf download "
        f"{name}{f' --revision {commit}' if commit else ''} (gated models: hf auth login)"
    )
