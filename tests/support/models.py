"""A model small enough for one core, built as every run builds its own, and a handful of requests of every task."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from rsmoe.build import build_model, fit_codecs
from rsmoe.config import compose
from rsmoe.data.batch import Batch
from rsmoe.data.collate import Collate
from rsmoe.data.sample import Sample
from rsmoe.data.text_codec import TextCodec
from rsmoe.model import RSMoE
from rsmoe.temporal import TemporalInput
from support.sizes import SMALL

TINY = (
    "image_size=32",
    "vision={_target_: rsmoe.vision.resnet.ResNet, bands: 3, stem: 8, widths: [8, 16], depths: [1, 1], dropout: 0.1}",
    *SMALL,
)
FIVE_KINDS = "expert=[theme,object,vqa,change,mask,retrieval]"
SMALL_HEADS = ("expert.mask.width=8", "expert.retrieval.dim=8")


def tiny_config(*overrides: str, experts: str = FIVE_KINDS) -> dict[str, Any]:
    """A resolved config, as `rsmoe.train` makes it."""
    return deepcopy(_composed(overrides, experts))


@cache
def _composed(overrides: tuple[str, ...], experts: str) -> dict[str, Any]:
    groups = [o for o in overrides if "." not in o.split("=")[0]]
    keys = [o for o in overrides if o not in groups]
    heads = [h for h in SMALL_HEADS if h.split(".")[1] in re.split(r"\W+", experts)]
    other = any(g.startswith("router=") for g in groups)  # its keys are others
    whole = [t for t in TINY if not t.startswith("vision=") and not (other and t.startswith("router."))]
    config: dict[str, Any] = OmegaConf.to_container(compose([experts, *groups, *whole, *heads, *keys]), resolve=True)  # type: ignore[assignment]
    if not any(o.startswith("vision=") for o in overrides):
        config["vision"] = OmegaConf.to_container(
            OmegaConf.create(next(t for t in TINY if t.startswith("vision="))[7:])
        )
    return config


def requests() -> list[Sample]:
    """Two requests of every task, in turn; the pairs have two dates, the others one."""
    rng = np.random.default_rng(0)

    def picture(level: int) -> np.ndarray:
        return rng.integers(level, level + 120, (32, 32, 3), dtype=np.uint8)

    square = np.zeros((32, 32), dtype=bool)
    square[4:20, 8:24] = True
    plain = {"source": "hand"}
    rows = [
        ("caption", "describe this image", ("a grey harbour with two ships . boats lie next to the pier", "a harbour")),
        ("vqa", "how many ships are there in the image ?", ("two",)),
        ("change_caption", "what has changed ?", ("a house was built near the road", "one new house")),
        ("mask", "segment the ship", ("the ship is here [SEG]",)),
        ("retrieval", "embed this image", ("a harbour seen from above",)),
        ("caption", "describe the scene", ("a green forest",)),
        ("vqa", "is there a road ?", ("no",)),
        ("change_caption", "describe the changes of these two dates", ("nothing has changed",)),
        ("mask", "mark the field please", ("this is the field [SEG]",)),
        ("retrieval", "represent this image", ("a forest",)),
    ]
    samples = []
    for place, (task, instruction, responses) in enumerate(rows):
        images = tuple(picture(20 * (place % 5)) for _ in range(2 if task == "change_caption" else 1))
        samples.append(
            Sample(
                id=f"{task}-{place}",
                images=images,
                instruction=instruction,
                responses=responses,
                task=task,
                kind={"vqa": "count", "change_caption": "unchanged" if place > 4 else "changed"}.get(task, ""),
                mask=square if task == "mask" else None,
                **plain,
            )
        )
    return samples


@cache
def codecs(experts: str = FIVE_KINDS) -> tuple[TextCodec, TextCodec]:
    """Of the words of `requests`."""
    config = tiny_config(experts=experts)
    texts = [t for s in requests() for t in (s.instruction, *s.responses)]
    return fit_codecs(
        config, [*texts, "name the objects how many there are and where", "state theme answer in few words"]
    )


def tiny_model(*overrides: str, experts: str = FIVE_KINDS, seed: int = 0, scrambled: bool = True) -> RSMoE:
    """In eval mode; ``scrambled`` gives the experts adapters, prompts and gates that differ."""
    torch.manual_seed(seed)
    model = build_model(tiny_config(*overrides, experts=experts), *codecs(experts)).eval()
    if scrambled:
        scramble(model, seed)
    return model


@torch.no_grad()
def scramble(model: RSMoE, seed: int = 0) -> None:
    """Weights under which every part visibly matters: new adapters are zero, new routers and answers near uniform."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        scale = {"lora_B": 0.5, "prompts.base": 1.0, "router.gate.weight": 1.5, "embed_tokens": 1.0, "lm_head": 0.7}
        scale |= {"base_layer.weight": 0.25, "self_attn.k_proj": 0.4, "self_attn.o_proj": 0.4}
        for part, std in scale.items():
            if part in name:
                p.copy_(std * torch.randn(p.shape, generator=generator))
        if name.startswith(("to_lm", "bypass.project")) and p.ndim > 1:
            p.mul_(10.0)


def collate(**options: Any) -> Collate:
    """Of training without augmentation, unless ``options`` say otherwise."""
    codec, words = codecs()
    shape = {"image_size": 32, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    return Collate(codec=codec, instruction_codec=words, **(shape | options))


def batch_of(*tasks: str, seed: int = 1, inference: bool = False) -> Batch:
    """The requests of these tasks (all by default), in the order of `requests`."""
    chosen = [s for s in requests() if not tasks or s.task in tasks]
    return collate(inference=inference)([(s, seed) for s in chosen])


def padded(batch: Batch, *, prompt: int = 0, response: int = 0, instruction: int = 0) -> Batch:
    """The same requests with more padding: prompts on the left, responses and instructions on the right."""

    def more(ids: torch.Tensor, mask: torch.Tensor, left: int, right: int) -> tuple[torch.Tensor, torch.Tensor]:
        noise = torch.nn.functional.pad(ids, (left, right), value=7)  # any id: the mask alone says what counts
        return noise, torch.nn.functional.pad(mask, (left, right), value=False)

    prompts = more(batch.prompt_ids, batch.prompt_mask, prompt, 0)
    responses = more(batch.response_ids, batch.response_mask, 0, response)
    words = more(batch.instruction_ids, batch.instruction_mask, 0, instruction)
    return replace(
        batch,
        prompt_ids=prompts[0],
        prompt_mask=prompts[1],
        response_ids=responses[0],
        response_mask=responses[1],
        instruction_ids=words[0],
        instruction_mask=words[1],
    )


def dates(
    tokens: torch.Tensor,
    frames: torch.Tensor,
    class_map: torch.Tensor | None = None,
    times: torch.Tensor | None = None,
) -> TemporalInput:
    """What a temporal module reads."""
    return TemporalInput(tokens=tokens, frames=frames, class_map=class_map, times=times)
