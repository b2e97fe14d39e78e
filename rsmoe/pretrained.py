"""Loading transformers checkpoints: by name or folder, with errors that a user can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from rsmoe.errors import UserError

Model = TypeVar("Model", bound=PreTrainedModel)


def load_config(name: str) -> PretrainedConfig:
    """The config of a checkpoint.

    Args:
        name: a local folder, or a name on the Hugging Face hub.

    Raises:
        UserError: it is neither, or cannot be fetched.
    """
    try:
        return AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from error


def load_pretrained(
    model: type[Model], name: str, *, key_mapping: dict[str, str] | None = None, **kwargs: Any
) -> Model:
    """A model in fp32 and eval mode with every weight taken from the checkpoint, none left at random.

    Args:
        model: transformers class; tensors of the checkpoint that it has no place for are left out.
        name: a local folder, or a name on the Hugging Face hub.
        key_mapping: regular expression -> replacement, for the checkpoint's parameter names.
        kwargs: of ``from_pretrained``.

    Raises:
        UserError: the checkpoint cannot be read, or lacks weights, or they have other shapes.
    """
    try:
        with _quiet():
            result: Any = model.from_pretrained(
                name, key_mapping=key_mapping, dtype=torch.float32, output_loading_info=True, **kwargs
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreadable(name, error) from error
    loaded: Model = result[0]
    if missing := sorted(result[1]["missing_keys"]):
        raise UserError(
            f"checkpoint {name!r} lacks {len(missing)} weights of {model.__name__}, first: {', '.join(missing[:5])}. "
            f"Give a checkpoint of that architecture"
        )
    return loaded.eval()


def on_meta_device() -> bool:
    """Whether modules are being built under ``torch.device("meta")``: shapes only, so that nothing is to be loaded."""
    return torch.get_default_device().type == "meta"


def parent_of(module: nn.Module, path: str) -> tuple[nn.Module, str]:
    """("a.b.c") -> (module.a.b, "c")."""
    parent, _, leaf = path.rpartition(".")
    return module.get_submodule(parent), leaf


def _unreadable(name: str, error: Exception) -> UserError:
    return UserError(
        f"cannot load {name!r}: {str(error).splitlines()[0]}. Expected a local folder with config.json and weights "
        f"(what save_pretrained writes), or a name on huggingface.co that this machine can reach"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    # its load report lists the text tower's weights, which are left out on purpose
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
