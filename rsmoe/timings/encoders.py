"""Pictures a second of EfficientNet-Lite on one core: ``python -m rsmoe.timings.encoders [--compile]``.

Forward passes without gradient, in five ways that give the same numbers:

- plain: convolution, batch norm, ReLU6, each by its torch module, pictures band after band; what others are divided by;
- channels last: the same with `torch.channels_last`;
- folded: batch norms folded into the convolutions before them;
- ours: `rsmoe.vision.efficientnet_lite` as it runs when it is frozen: folded, channels last, convolutions of one pixel
  as matrix products, uneven padding in the kernel and not in the picture;
- compiled, with ``--compile``: ours through ``torch.compile``, which takes minutes and a C++ compiler.

Seconds are those of the processor, the least of several turns, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from rsmoe.parts import instantiate
from rsmoe.vision.efficientnet_lite import EfficientNetLite

FACTORS = {"lite0": (1.0, 1.0), "lite2": (1.1, 1.2)}


def plain(encoder: EfficientNetLite, pixels: Tensor, *, folded: bool) -> Tensor:
    """The last level, as a straightforward program computes it."""
    x: Tensor = _layer(encoder.trunk.stem, pixels, folded)
    blocks: Any = encoder.trunk.blocks
    for block in blocks:
        inner = x if block.expand is None else _layer(block.expand, x, folded)
        out = _layer(block.project, _layer(block.depthwise, inner, folded), folded)
        x = x + out if block.skips else out
    return x


def _layer(layer: Any, x: Tensor, folded: bool) -> Tensor:
    conv, norm = layer.conv, layer.norm
    (kernel, _), (stride, _) = conv.kernel_size, conv.stride
    sides = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (x.shape[3], x.shape[2])]
    if any(sides):
        x = F.pad(x, [part for side in sides for part in (side // 2, side - side // 2)])
    if folded:
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        bias = norm.bias - norm.running_mean * scale
        x = F.conv2d(x, conv.weight * scale[:, None, None, None], bias, stride, groups=conv.groups)
    else:
        x = norm(F.conv2d(x, conv.weight, None, stride, groups=conv.groups))
    clipped: Tensor = F.relu6(x) if layer.act else x
    return clipped


def in_turns(ways: dict[str, Callable[[], Tensor]], *, repetitions: int) -> dict[str, float]:
    """Least processor seconds of each way; the first turn warms up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repetitions + 1):
        for name, way in ways.items():
            start = time.process_time()
            way()
            times[name].append(time.process_time() - start)
    return {name: min(spent[1:]) for name, spent in times.items()}


def main() -> None:
    """Prints the table, after a check that all ways agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", choices=sorted(FACTORS), default="lite0")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    for name, value in {"side": 224, "repetitions": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(1)
    channels, depth = FACTORS[given.encoder]
    node: dict[str, Any] = {"_target_": "rsmoe.vision.efficientnet_lite.EfficientNetLite"}
    node |= {"channel_factor": channels, "depth_factor": depth}
    torch.manual_seed(0)
    rows: EfficientNetLite = instantiate(node).eval()
    last: EfficientNetLite = instantiate(node).eval()
    last.load_state_dict(rows.state_dict())
    last.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    names = ("plain", "channels last", "folded", "ours", *(["compiled"] if given.compile else []))
    table = Table("batch", "plain [pictures/s]", *names[1:], title=f"EfficientNet-{given.encoder}, {given.side} px")
    compiled = torch.compile(last.trunk) if given.compile else None
    with torch.inference_mode():
        for batch in given.batches:
            pixels = torch.randn(batch, 3, given.side, given.side)
            packed = pixels.contiguous(memory_format=torch.channels_last)
            ways: dict[str, Callable[[], Tensor]] = {
                "plain": lambda x=pixels: plain(rows, x, folded=False),  # type: ignore[misc]
                "channels last": lambda x=packed: plain(last, x, folded=False),  # type: ignore[misc]
                "folded": lambda x=pixels: plain(rows, x, folded=True),  # type: ignore[misc]
                "ours": lambda x=packed: last.features(x)[-1],  # type: ignore[misc]
            }
            if compiled is not None:
                ways["compiled"] = lambda x=packed: compiled(x)[-1]  # type: ignore[misc]
            expected = ways["plain"]()
            for name, way in ways.items():
                torch.testing.assert_close(way(), expected, atol=1e-3, rtol=1e-3, msg=f"{name} computes other numbers")
            spent = in_turns(ways, repetitions=given.repetitions)
            cells = [f"{batch / spent[n]:.1f} ({spent['plain'] / spent[n]:.2f} x)" for n in names[1:]]
            table.add_row(str(batch), f"{batch / spent['plain']:.1f}", *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
