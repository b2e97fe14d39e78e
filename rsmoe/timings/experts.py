"""How much a mixed batch costs beside one adapter: ``python -m rsmoe.timings.experts [--device cuda]``.

A Llama of random weights with a frozen base; R rows of L tokens, spread evenly over E experts. Forward and backward in
training, and one forward without gradient. Five ways:

- bank: this library, all experts in one pass;
- token: the same with bank=token, every token by one expert, which a gate chooses; the same number is active;
- one: the same rows, all through one adapter (a bank of E = 1); what the others are divided by;
- set_adapter: PEFT, one pass per expert over its own rows;
- adapter_names: PEFT's mixed batches, inference only.

The ways take turns within each repetition, so that a slow moment of the machine falls on all; medians are printed.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable

import torch
from peft import PeftModel
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from rsmoe.experts.bank import ExpertBank
from rsmoe.experts.token import TokenBank

TARGETS = ("q_proj", "v_proj", "gate_proj", "up_proj", "down_proj")
"""Linear layers that carry an adapter."""
LIMIT = 1.1
"""A mixed batch may cost this many times one adapter on the same rows."""
TOKEN_LIMIT = 1.15
"""And routed tokens this many times routed rows."""


def base(*, hidden: int, layers: int) -> PreTrainedModel:
    """A frozen Llama of random weights, 1024 words."""
    config = LlamaConfig(
        vocab_size=1024,
        hidden_size=hidden,
        intermediate_size=4 * hidden * 2 // 3 // 16 * 16,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
    )
    return LlamaForCausalLM(config).requires_grad_(False)  # transformers', for PEFT can wrap no other


def in_turns(ways: dict[str, Callable[[], Tensor]], *, repetitions: int, train: bool) -> dict[str, float]:
    """Median seconds of each way; ``train`` adds the backward pass of the mean square."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repetition in range(repetitions + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            with torch.set_grad_enabled(train):
                hidden = way()
                if train:
                    hidden.square().mean().backward()
            if hidden.is_cuda:
                torch.cuda.synchronize()
            if repetition > 0:  # the first warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(t) for name, t in times.items()}


def peft_ways(bank: ExpertBank, embeds: Tensor, expert: Tensor) -> dict[str, Callable[[], Tensor]]:
    """The bank's adapters in PEFT: the loop over adapters, and the mixed batch."""
    lm = base(hidden=bank.width, layers=bank.lm.config.num_hidden_layers)
    with tempfile.TemporaryDirectory() as folder:
        for index in range(bank.size):
            bank.save_adapter(index, f"{folder}/{index}")
        model = PeftModel.from_pretrained(lm, f"{folder}/0", adapter_name="0", is_trainable=True)
        for index in range(1, bank.size):
            model.load_adapter(f"{folder}/{index}", adapter_name=str(index), is_trainable=True)
    model.to(embeds.device).eval()  # PEFT refuses mixed batches in training mode; there is no dropout
    present = expert.unique().tolist()

    def run(rows: Tensor, **options: object) -> Tensor:
        out = model(inputs_embeds=rows, output_hidden_states=True, use_cache=False, logits_to_keep=1, **options)
        hidden: Tensor = out.hidden_states[-1]
        return hidden

    def loop() -> Tensor:
        parts = []
        for index in present:
            model.set_adapter(str(index))
            parts.append(run(embeds[expert == index]))
        return torch.cat(parts)

    def mixed() -> Tensor:
        return run(embeds, adapter_names=[str(e) for e in expert.tolist()])

    return {"set_adapter": loop, "adapter_names": mixed}


def measure(
    experts: int, *, rows: int, tokens: int, hidden: int, layers: int, rank: int, repetitions: int, device: str
) -> dict[str, dict[str, float]]:
    """Median seconds per way, under "train" and "infer"."""
    torch.manual_seed(0)
    lm = base(hidden=hidden, layers=layers)
    one = ExpertBank(lm=copy.deepcopy(lm), experts=1, rank=rank, alpha=2.0 * rank, targets=TARGETS).to(device)
    token = TokenBank(lm=copy.deepcopy(lm), experts=experts, rank=rank, alpha=2.0 * rank, targets=TARGETS).to(device)
    bank = ExpertBank(lm=lm, experts=experts, rank=rank, alpha=2.0 * rank, targets=TARGETS).to(device)
    embeds = torch.randn(rows, tokens, hidden, device=device)
    mask = torch.ones(rows, tokens, dtype=torch.bool, device=device)
    expert = torch.arange(rows, device=device) * experts // rows
    even = torch.full((rows, experts), 1 / experts, device=device)
    ways = {
        "one": lambda: one(embeds, mask, torch.zeros_like(expert)).hidden,
        "bank": lambda: bank(embeds, mask, expert).hidden,
        "token": lambda: token(embeds, mask, even).hidden,
        **peft_ways(bank, embeds, expert),
    }
    train = {name: way for name, way in ways.items() if name != "adapter_names"}
    result = {"train": in_turns(train, repetitions=repetitions, train=True)}
    for module in (one, bank, token):
        module.eval()
    return result | {"infer": in_turns(ways, repetitions=repetitions, train=False)}


def main() -> None:
    """Prints the table; ends with an error when a mixed batch costs more than `LIMIT` in training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experts", type=int, nargs="+", default=[1, 4, 8, 32])
    for name, value in {"rows": 32, "tokens": 64, "hidden": 512, "layers": 4, "rank": 16, "repetitions": 7}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="cpu")
    arguments = vars(parser.parse_args())
    warnings.filterwarnings("ignore", category=FutureWarning)
    table = Table(title="time / time of one adapter on the same rows")
    uses = {"train": ("bank", "token", "set_adapter"), "infer": ("bank", "token", "set_adapter", "adapter_names")}
    for heading in ("E", "one [s]", *uses["train"], *uses["infer"]):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row("", *["train"] * 4, *["infer"] * 4, end_section=True)
    worst, routed = 0.0, 0.0
    for experts in arguments.pop("experts"):
        result = measure(experts, **arguments)
        ratio = {use: {name: t / times["one"] for name, t in times.items()} for use, times in result.items()}
        cells = [ratio[use][name] for use, names in uses.items() for name in names]
        table.add_row(str(experts), f"{result['train']['one']:.3f}", *(f"{cell:.2f}" for cell in cells))
        worst = max(worst, ratio["train"]["bank"])
        if experts > 1:  # one expert needs no choice
            routed = max(routed, ratio["train"]["token"] / ratio["train"]["bank"])
    Console(width=100).print(table)
    if worst > LIMIT:
        raise SystemExit(f"a mixed batch costs {worst:.2f} times one adapter, more than {LIMIT}")
    if routed > TOKEN_LIMIT:
        raise SystemExit(f"routed tokens cost {routed:.2f} times routed rows, more than {TOKEN_LIMIT}")


if __name__ == "__main__":
    main()
