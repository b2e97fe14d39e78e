"""This library beside transformers' InstructBLIP with PEFT: ``python -m rsmoe.timings.instructblip``.

Both have the same sizes, random weights and the same inputs: a ViT of six blocks of 192 on 96 px, a Q-Former of two
layers and eight queries, a Llama of two layers of 192, LoRA of rank 8 on q_proj and v_proj; here with four experts
behind a router that chooses one a request. Tower and language model are frozen. No answer ends before its last token.

- training: forward, backward and AdamW, without loading, on captions of as many generated scenes, and on a caption and
  three questions of a quarter of them, which are encoded once here;
- ten questions on one image: one batch here, which encodes the image once; there ten calls, and a batch of ten;
- captions with three beams, in batches.

The ways take turns, in one process of one thread; what is printed comes from medians of processor seconds,
which other work on the machine disturbs least. "At best" is what the products of our way alone would take at the rate
of a large one.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from omegaconf import OmegaConf
from peft import LoraConfig, get_peft_model
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from rsmoe.build import build_model, fit_codecs
from rsmoe.config import compose
from rsmoe.data.batch import Batch
from rsmoe.data.collate import Collate
from rsmoe.data.sample import Sample
from rsmoe.model import RSMoE
from rsmoe.scenes.samples import SceneDataset
from rsmoe.timings.limit import core_rate, operations
from rsmoe.training.freeze import set_trainable

WORDS = (
    "vision=vit_tiny", "vision.pyramid_width=null", "temporal=passthrough", "bypass=none", "prompts=soft_short",
    "choice=top_k", "choice.k=1", "bank.rank=8", "bank.targets=[q_proj,v_proj]", "bank.dropout=0",
    "qformer.init_std=0.02",
)  # fmt: skip
TRAIN = ("qformer", "to_lm", "prompts", "router", "*lora_*")
ASKED = ("what", "where", "how many", "which", "when")
QUESTIONS = 10


class Ours:
    """The model of this library, and batches for both."""

    def __init__(self, *, pictures: int) -> None:
        config: Any = OmegaConf.to_container(compose(list(WORDS)), resolve=True)
        data = SceneDataset(split="train", size=pictures, size_px=96, tasks=["caption"])
        self.samples = [data[i] for i in range(pictures)]
        asked = [f"{word} is it ? here" for word in ASKED]
        texts = [text for s in self.samples for text in (s.instruction, *s.responses)]
        self.codec, words = fit_codecs(config, [*texts, *asked])
        torch.manual_seed(0)
        self.model: RSMoE = build_model(config, self.codec, words).eval()
        set_trainable(self.model, TRAIN)
        assert self.codec.eos_id is not None
        self.end = self.codec.eos_id
        _never(self.model.bank.base, self.end)
        sizes = {"image_size": 96, "mean": config["mean"], "std": config["std"]}
        self._collates = {
            inference: Collate(codec=self.codec, instruction_codec=words, inference=inference, **sizes)
            for inference in (False, True)
        }

    def batch(self, samples: Sequence[Sample], *, inference: bool) -> Batch:
        """Samples as tensors."""
        return self._collates[inference]([(sample, 0) for sample in samples])

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the answers."""
        return self.model.fusion.losses(self.model, batch, self.model.read(batch), smoothing=0.0)["text"]

    def answer(self, batch: Batch, *, beams: int, new: int) -> int:
        """Answers a batch; how many tokens the answers have."""
        return sum(map(len, self.model.generate(batch, end_id=self.end, beams=beams, max_new=new)))


class InstructBLIP:
    """The peer: the same sizes in transformers, adapters by PEFT."""

    def __init__(self, ours: Ours) -> None:
        import transformers as t

        lm = ours.model.bank.base.config
        self.image, self.queries = ours.codec.vocab_size, 8  # a word more: the place of a query
        text = t.LlamaConfig(**{**asdict(lm), "vocab_size": self.image + 1, "tie_word_embeddings": True})
        config = t.InstructBlipConfig(
            vision_config=t.InstructBlipVisionConfig(
                hidden_size=192, intermediate_size=768, num_hidden_layers=6, num_attention_heads=3, image_size=96,
                patch_size=12,
            ).to_dict(),
            qformer_config=t.InstructBlipQFormerConfig(
                hidden_size=192, num_hidden_layers=2, vocab_size=ours.codec.vocab_size, num_attention_heads=4,
                intermediate_size=768, cross_attention_frequency=1, encoder_hidden_size=192,
                max_position_embeddings=128, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            ).to_dict(),
            text_config=text.to_dict(), num_query_tokens=self.queries, image_token_index=self.image,
        )  # fmt: skip
        torch.manual_seed(0)
        model = t.InstructBlipForConditionalGeneration(config).eval().requires_grad_(False)
        _never(model.language_model, ours.end)
        model.qformer.requires_grad_(True)
        model.language_projection.requires_grad_(True)
        model.query_tokens.requires_grad_(True)
        lora = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])
        model.language_model = get_peft_model(model.language_model, lora)
        self.model, self.end = model, ours.end

    def inputs(self, batch: Batch, *, answers: bool) -> dict[str, Tensor]:
        """A batch as InstructBLIP reads it, with the answers and their labels or without."""
        places = torch.full((len(batch), self.queries), self.image)
        ids, mask = [places, batch.prompt_ids], [torch.ones_like(places, dtype=torch.bool), batch.prompt_mask]
        inputs = {}
        if answers:
            ids, mask = [*ids, batch.response_ids], [*mask, batch.response_mask]
            told = batch.response_ids.masked_fill(~batch.response_mask, -100)
            none = torch.full((len(batch), self.queries + batch.prompt_ids.shape[1]), -100)
            inputs["labels"] = torch.cat([none, told], 1)
        return inputs | {
            "pixel_values": batch.pixels[batch.view, 0],
            "qformer_input_ids": batch.instruction_ids,
            "qformer_attention_mask": batch.instruction_mask.long(),
            "input_ids": torch.cat(ids, 1),
            "attention_mask": torch.cat(mask, 1).long(),
        }

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the answers."""
        loss: Tensor = self.model(**self.inputs(batch, answers=True)).loss
        return loss

    @torch.no_grad()
    def answer(self, batch: Batch, *, beams: int, new: int) -> int:
        """Answers a batch; how many tokens the answers have."""
        inputs = self.inputs(batch, answers=False)
        found = self.model.generate(
            **inputs, max_new_tokens=new, num_beams=beams, do_sample=False, eos_token_id=self.end, pad_token_id=self.end
        )
        return int(found.shape[0] * min(found.shape[1], new))


@torch.no_grad()
def _never(lm: nn.Module, end: int) -> None:
    """Makes the end the least likely word, so that every answer has its full length."""
    lm.get_output_embeddings().weight[end] = 0.0  # type: ignore[operator]


def in_turns(ways: dict[str, Callable[[], object]], *, repetitions: int) -> dict[str, float]:
    """Median processor seconds of each way; the first turn warms up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repetitions + 1):
        for name, way in ways.items():
            start = time.process_time()
            way()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(seconds[1:]) for name, seconds in times.items()}


def step_of(model: Any, module: nn.Module, batch: Batch) -> Callable[[], None]:
    """One step of training on a batch."""
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        model.loss(batch).backward()
        optimizer.step()

    return step


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"batch": 64, "pictures": 200, "new": 16, "repetitions": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    ours = Ours(pictures=given.pictures)
    peer = InstructBLIP(ours)
    questions = [f"{word} is it ?" for word in ASKED]
    mixed = [
        replace(sample, instruction=questions[i], responses=("here",), task="vqa") if i else sample
        for sample in ours.samples[: given.batch // 4]
        for i in range(4)
    ]
    batches = {
        "captions": ours.batch(ours.samples[: given.batch], inference=False),
        "captions and questions": ours.batch(mixed, inference=False),
    }
    few = [ours.batch(ours.samples[i : i + 32], inference=True) for i in range(0, given.pictures, 32)]
    asked = [
        replace(ours.samples[0], id=str(i), instruction=questions[i % len(ASKED)], task="vqa") for i in range(QUESTIONS)
    ]
    ten, ones = ours.batch(asked, inference=True), [ours.batch([sample], inference=True) for sample in asked]
    console = Console()
    for name, model in (("rsmoe", ours.model), ("InstructBLIP", peer.model)):
        sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
        millions = [sum(n for n, trains in sizes if trains or every) / 1e6 for every in (False, True)]
        console.print(f"{name}: {millions[0]:.1f} of {millions[1]:.1f} M parameters train")
    rate = core_rate()
    title = f"batches of {given.batch}, one thread of {rate / 1e9:.0f} GFLOP/s"
    table = Table("", "rsmoe", "InstructBLIP", "x", "at best", title=title)
    rows = []
    for name, batch in batches.items():
        step = step_of(ours, ours.model, batch)
        found = in_turns({"rsmoe": step, "peer": step_of(peer, peer.model, batch)}, repetitions=given.repetitions)
        rates = (given.batch / seconds for seconds in (found["rsmoe"], found["peer"], operations(step) / rate))
        rows.append((f"training on {name}, samples/s", *rates))
    found = in_turns(
        {
            "rsmoe": lambda: ours.answer(ten, beams=1, new=given.new),
            "calls": lambda: [peer.answer(one, beams=1, new=given.new) for one in ones],
            "batch": lambda: peer.answer(ten, beams=1, new=given.new),
        },
        repetitions=given.repetitions,
    )
    least = operations(lambda: ours.answer(ten, beams=1, new=given.new)) / rate
    for name, told in (("calls", "ten calls"), ("batch", "a batch of ten")):
        rates = (QUESTIONS / seconds for seconds in (found["rsmoe"], found[name], least))
        rows.append((f"ten questions, answers/s; {told}", *rates))
    found = in_turns(
        {
            "rsmoe": lambda: [ours.answer(batch, beams=3, new=given.new) for batch in few],
            "peer": lambda: [peer.answer(batch, beams=3, new=given.new) for batch in few],
        },
        repetitions=max(1, given.repetitions // 2),
    )
    least = operations(lambda: [ours.answer(batch, beams=3, new=given.new) for batch in few]) / rate
    rows.append(("three beams, captions/s", *(given.pictures / s for s in (found["rsmoe"], found["peer"], least))))
    for row, mine, theirs, best in rows:
        table.add_row(row, f"{mine:.1f}", f"{theirs:.1f}", f"{mine / theirs:.2f}", f"{best:.0f}")
    console.print(table)


if __name__ == "__main__":
    main()
