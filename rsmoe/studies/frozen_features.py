"""What an encoder knows before any training: ``python -m rsmoe.studies.frozen_features [--vision efficientnet_lite0]``.

Pooled features of a frozen encoder on a caption release with scene classes, scored on its test split in two ways:

- nearest picture: the first caption of the training picture of highest cosine, BLEU-4 and CIDEr-D under
  `caption/coco-whitespace@1`;
- linear probe: top-1 accuracy of a multinomial logistic regression on the scene classes, its L2 penalty chosen on val.

Features are the mean of the encoder's last map (the 1280 channels of EfficientNet-Lite's head, the patch tokens of a
transformer), standardised by mean and standard deviation of the training pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F

from rsmoe.config import compose
from rsmoe.data.rasters.images import load_image
from rsmoe.data.sample import Sample
from rsmoe.data.transforms.transforms import resize
from rsmoe.errors import UserError
from rsmoe.metrics.captions.caption_scores import caption_scores
from rsmoe.metrics.captions.tokenize import whitespace
from rsmoe.parts import instantiate

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""L2 penalties of the probe, of which the best on val is taken."""


def pooled(encoder: Any, pixels: Tensor) -> Tensor:
    """(N, C, H, W) normalised -> (N, D): the mean of the last map, without the sines of places."""
    grid = getattr(encoder, "grid", None)
    features: Tensor = grid(pixels) if grid else encoder(pixels).tokens
    return features.flatten(2).mean(2) if grid else features.mean(1)


@torch.no_grad()
def pooled_features(
    encoder: Any, samples: Sequence[Sample], *, size: int, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """(n, D) of each sample's picture, which is resized to ``size`` pixels (bicubic, antialiased)."""
    encoder.eval().to(memory_format=torch.channels_last)
    shift, scale = (255 * torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
    rows = []
    for start in track(range(0, len(samples), 8), description=f"{len(samples)} pictures", transient=True):
        pictures = [resize(load_image(sample.images[0]), size) for sample in samples[start : start + 8]]
        pixels = (torch.stack(pictures).float() - shift) / scale
        rows.append(pooled(encoder, pixels.contiguous(memory_format=torch.channels_last)))
    return torch.cat(rows)


def nearest_captions(train: Sequence[Sample], known: Tensor, asked: Tensor) -> list[str]:
    """The first caption of the training picture of highest cosine, for each row of ``asked``."""
    nearest = (F.normalize(asked, dim=1) @ F.normalize(known, dim=1).T).argmax(1)
    return [train[int(place)].responses[0] for place in nearest]


def linear_probe(known: Tensor, classes: Tensor, *, penalty: float) -> nn.Linear:
    """Multinomial logistic regression: mean cross-entropy + ``penalty / 2 * |W|^2``, to the minimum (L-BFGS)."""
    layer = nn.Linear(known.shape[1], int(classes.max()) + 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    search = torch.optim.LBFGS(layer.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        value = F.cross_entropy(layer(known), classes) + penalty / 2 * layer.weight.square().sum()
        value.backward()
        return value

    search.step(loss)
    return layer.requires_grad_(False)


def study(config: Mapping[str, Any], splits: Mapping[str, Sequence[Sample]]) -> dict[str, float]:
    """bleu4 and cider_d of the nearest picture's caption, accuracy of the probe, all in percent, and its penalty.

    Args:
        config: resolved, with "vision", "bands", "image_size", "mean" and "std".
        splits: "train", "val" and "test" of captioned pictures.
    """
    encoder = instantiate(config["vision"], bands=config["bands"])
    features = {
        split: pooled_features(encoder, samples, size=config["image_size"], mean=config["mean"], std=config["std"])
        for split, samples in splits.items()
    }
    mean, std = features["train"].mean(0), features["train"].std(0).clamp_min(1e-6)
    features = {split: (rows - mean) / std for split, rows in features.items()}
    said = nearest_captions(splits["train"], features["train"], features["test"])
    scores = caption_scores(said, [sample.responses for sample in splits["test"]], tokenize=whitespace)
    found = {"bleu4": 100 * scores["bleu4"], "cider_d": 100 * scores["cider_d"]}
    names = sorted({str(s.meta["scene_class"]) for s in splits["train"] if "scene_class" in s.meta})
    if not names:
        return found
    classes = {
        split: torch.tensor([names.index(str(s.meta["scene_class"])) for s in samples])
        for split, samples in splits.items()
    }
    probes = {p: linear_probe(features["train"], classes["train"], penalty=p) for p in PENALTIES}
    right = {p: probes[p](features["val"]).argmax(1).eq(classes["val"]).float().mean().item() for p in PENALTIES}
    best = max(PENALTIES, key=right.__getitem__)
    top1 = probes[best](features["test"]).argmax(1).eq(classes["test"]).float().mean().item()
    return found | {"top1": 100 * top1, "penalty": best}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vision", default="efficientnet_lite0", help="a name in conf/vision")
    parser.add_argument("--data", default="ucm_captions", help="a name in conf/data")
    parser.add_argument("overrides", nargs="*", help="further keys of conf/train.yaml, such as image_size=256")
    given = parser.parse_args()
    console = Console()
    try:
        composed = compose([f"vision={given.vision}", *given.overrides])
        config: Any = OmegaConf.to_container(composed, resolve=True)
        reader = OmegaConf.to_container(compose([f"data={given.data}"], name="inspect").data)
        splits = {s: list(instantiate(reader, split=s)) for s in ("train", "val", "test")}
        result = study(config, splits)
    except UserError as error:
        raise SystemExit(str(error)) from None
    side = config["image_size"]
    console.print(
        f"{given.vision}, {side} px, on {given.data}: {', '.join(f'{len(v)} {k}' for k, v in splits.items())}"
    )
    console.print(f"nearest picture  BLEU-4 {result['bleu4']:.1f}  CIDEr-D {result['cider_d']:.1f}")
    if "top1" in result:
        console.print(
            f"linear probe     top-1 {result['top1']:.1f} %  (L2 penalty {result['penalty']:g}, chosen on val)"
        )


if __name__ == "__main__":
    main()
