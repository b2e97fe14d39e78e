"""Samples to a `Batch`."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from rsmoe.checks.ranges import Fraction, NonNegative, Positive, PositiveReal, Share
from rsmoe.data.batch import Batch
from rsmoe.data.feature_store import FeatureStore, stacked
from rsmoe.data.rasters.images import images_key
from rsmoe.data.rasters.mask_sources import UNKNOWN
from rsmoe.data.sample import Sample
from rsmoe.data.tasks import find_task, task_names
from rsmoe.data.text_codec import TextCodec
from rsmoe.data.transforms.directions import turn_sample
from rsmoe.data.transforms.image_cache import ImageCache
from rsmoe.data.transforms.random_window import check_sides, random_window
from rsmoe.data.transforms.regions import pointed
from rsmoe.data.transforms.transforms import Transform, nearest, resize, uncroppable
from rsmoe.errors import UserError

Limit = Annotated[int, Field(ge=2)]
"""Most tokens of a text, the one that ends it included."""
RETRIEVAL_TOKEN = "[RET]"
"""The answer to every retrieval request; its hidden state is the embedding."""


class Collate:
    """Joins (sample, seed) pairs into one `Batch`; the same pairs always give the same batch.

    Pairs with the same images and the same seed share one view: it is decoded, augmented and encoded once, only as the
    text of all of them allows; words of direction turn with the picture. The same pair given n times takes n references
    in turn.

    A region follows the geometry of its view, and its box stands in the words of the request, see
    `rsmoe.data.transforms.regions`.

    The prompt is the history, ``q: ... a: ...`` a turn, then the instruction, without a start token (the model puts it
    before the image); the Q-Former gets the instruction alone, as its tokenizer wraps it. A text over its limit loses
    its oldest tokens when it is read (prompt, instruction) and its last ones when it is learned (response); the latter
    warns.

    A retrieval sample has captions as responses. The model answers it with `RETRIEVAL_TOKEN` alone, for the state that
    emits the token must know the image and not the caption; the caption drawn, without the token, becomes
    ``Batch.text_ids``, at inference too.

    Args:
        codec: of the language model.
        instruction_codec: of the Q-Former; may be the same.
        image_size: S, side of the pixels.
        mean, std: one value per band, on the scale 0-1.
        augment: True for training.
        inference: True leaves the responses out: ``response_ids`` is (B, 0).
        max_prompt, max_instruction, max_response: limits in tokens, the end token included.
        crop_area, jitter, align_px, match_levels: see `Transform`.
        window_px: least and greatest side, in pixels of the picture, of a random window that training sees in place of
            the whole, see `random_window`; of what may be cropped, see `Transform`. None: whole pictures.
        cache_bytes: see `ImageCache`.

    Attributes:
        features: of a frozen encoder, in the place of pixels; None: pixels.
        decode: whether pictures are decoded beside ``features``, for parts that read pixels too.

    Raises:
        UserError: for a codec without an end token, or limits below 2.
    """

    def __init__(
        self,
        *,
        codec: TextCodec,
        instruction_codec: TextCodec,
        image_size: Positive,
        mean: Sequence[float],
        std: Sequence[PositiveReal],
        augment: bool = False,
        inference: bool = False,
        max_prompt: Limit = 128,
        max_instruction: Limit = 64,
        max_response: Limit = 160,
        crop_area: Annotated[Share, Field(gt=0.0)] = 0.7,
        jitter: Fraction = 0.2,
        align_px: NonNegative = 0,
        match_levels: bool = False,
        window_px: Sequence[int] | None = None,
        cache_bytes: Annotated[int, Field(ge=0)] = 512 * 2**20,
    ) -> None:
        if codec.eos_id is None:
            raise UserError("the language model's tokenizer has no end token, so that answers could never end")
        if min(max_prompt, max_instruction, max_response) < 2:
            raise UserError("max_prompt, max_instruction and max_response must be at least 2 tokens")
        self.codec, self.instruction_codec, self.inference = codec, instruction_codec, inference
        self.max_prompt, self.max_instruction, self.max_response = max_prompt, max_instruction, max_response
        self.transform = Transform(
            size=image_size,
            mean=mean,
            std=std,
            augment=augment,
            crop_area=crop_area,
            jitter=jitter,
            align_px=align_px,
            match_levels=match_levels,
        )
        self.window = check_sides(window_px) if window_px is not None and augment else None
        self.cache = ImageCache(size=None if self.window else image_size, max_bytes=cache_bytes)
        self.features: FeatureStore | None = None
        self.decode = True
        self._eos = codec.eos_id

    def __call__(self, items: Sequence[tuple[Sample, int]]) -> Batch:
        """B pairs, B >= 1. The seed draws the response (one of the references) and the augmentation."""
        views = self._views(items)
        samples: tuple[Sample, ...] = views["samples"]
        responses: list[list[int]] = []
        texts: list[list[int]] = []
        met: Counter[tuple[str, str, int]] = Counter()
        for sample, (_, seed) in zip(samples, items, strict=True):
            key = (sample.source, sample.id, seed)
            first = torch.randint(len(sample.responses), (), generator=torch.Generator().manual_seed(seed))
            chosen = (int(first) + met[key]) % len(sample.responses)
            met[key] += 1
            retrieval = find_task(sample.task).answer == "embedding"
            answer = RETRIEVAL_TOKEN if retrieval else sample.responses[chosen]
            responses.append([] if self.inference else self._response(answer))
            texts.append(self.caption(sample.responses[chosen]) if retrieval else [])
        words, pad = self.instruction_codec, self.codec.pad_id
        instructions = [words.encode(s.instruction, wrap=True, last=self.max_instruction) for s in samples]
        prompts = [self.codec.encode(_prompt_text(s), last=self.max_prompt) for s in samples]
        return Batch(
            **views,
            **_padded("instruction", instructions, words.pad_id),
            **_padded("prompt", prompts, pad, left=True),
            **_padded("response", responses, pad),
            **_padded("text", texts, pad),
            task=torch.tensor([task_names().index(sample.task) for sample in samples]),
            times=_times(samples, views["view"]),
            has_mask=torch.tensor([sample.mask is not None for sample in samples]),
            regions=_regions(samples, self.transform.size),
        )

    def _views(self, items: Sequence[tuple[Sample, int]]) -> dict[str, Any]:
        """The fields of a `Batch` that come from pixels, and the samples as they are asked."""
        groups: dict[Hashable, list[int]] = {}
        for i, (sample, seed) in enumerate(items):
            groups.setdefault((seed, images_key(sample)), []).append(i)
        times = [len(items[rows[0]][0].images) for rows in groups.values()]
        size = self.transform.size
        side = size if self.decode or self.features is None else 0
        pixels = torch.zeros(len(groups), max(times), self.transform.bands, side, side)
        class_map = torch.full((len(groups), size, size), UNKNOWN, dtype=torch.uint8)
        masks = torch.zeros(len(items), size, size, dtype=torch.uint8)
        view = torch.zeros(len(items), dtype=torch.long)
        asked = [sample for sample, _ in items]
        absent = torch.empty(self.transform.bands, 0, 0, dtype=torch.uint8)  # a picture that is not decoded
        features: list[list[tuple[Tensor, ...]]] = []
        for place, rows in enumerate(groups.values()):
            members = [items[i][0] for i in rows]
            generator = torch.Generator().manual_seed(items[rows[0]][1])
            images = [self.cache(source) if side else absent for source in members[0].images]
            known = next((m.class_map for m in members if m.class_map is not None), None)  # one map for all of a view
            classes = None if known is None else self.cache.class_map(known)
            labels = [classes, *map(self.cache.numbers, members)]
            images, labels = self._windowed(images, labels, members, generator)
            views = self.transform(images, samples=members, generator=generator)
            view[rows] = place
            pixels[place, : times[place]] = views.pixels
            if labels[0] is not None:
                class_map[place] = views.placed(labels[0])
            for i, sample, numbers in zip(rows, members, labels[1:], strict=True):
                if numbers is not None:
                    masks[i] = views.placed(numbers)
                told = turn_sample(sample, views.symmetry)
                assert told is not None, "the transform turns no picture whose words cannot follow"
                asked[i] = pointed(told, symmetry=views.symmetry, window=views.window)
            if self.features is not None:
                features.append([self.features(source, views.symmetry) for source in members[0].images])
        return {
            "pixels": pixels,
            "frames": torch.tensor(times),
            "view": view,
            "masks": masks,
            "class_map": class_map,
            "features": stacked(features, times=max(times)) if features else None,
            "samples": tuple(asked),
        }

    def _windowed(
        self,
        images: Sequence[Tensor],
        labels: Sequence[Tensor | None],
        members: Sequence[Sample],
        generator: torch.Generator,
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """Pictures (C, H, W), class map and targets (H, W) of a view, cut to a window, or whole, and resized; as they
        are, in their size, without `random_window`."""
        if self.window is None:
            return list(images), list(labels)
        size = self.transform.size
        if any(uncroppable(m) or m.region is not None for m in members):
            whole = [resize(image.permute(1, 2, 0).numpy(), size) for image in images]
            return whole, [None if one is None else nearest(one, size) for one in labels]
        return random_window(images, labels, sides=self.window, size=size, generator=generator)

    def prompt_length(self, sample: Sample) -> int:
        """Tokens of the history and the request of a sample, of which `max_prompt` are read."""
        return len(self.codec.encode(_prompt_text(sample)))

    def caption(self, text: str) -> list[int]:
        """Ids of a text that images are matched with, without `RETRIEVAL_TOKEN`."""
        return self.codec.encode(text.replace(RETRIEVAL_TOKEN, " ").strip())[: self.max_response]

    def _response(self, text: str) -> list[int]:
        ids = self.codec.encode(text)
        if len(ids) >= self.max_response:
            warnings.warn(
                f"a response of {len(ids)} tokens is cut to {self.max_response - 1}; raise max_response", stacklevel=2
            )
        return [*ids[: self.max_response - 1], self._eos]


def _prompt_text(sample: Sample) -> str:
    turns = [f"q: {question} a: {answer}" for question, answer in sample.history]
    return " ".join([*turns, sample.instruction])


def _regions(samples: Sequence[Sample], size: int) -> Tensor | None:
    """(B, size, size) bool; None where no sample has a region."""
    if all(sample.region is None for sample in samples):
        return None
    nowhere = torch.zeros(size, size, dtype=torch.bool)
    return torch.stack([nowhere if sample.region is None else sample.region.mask(size) for sample in samples])


def _padded(name: str, rows: list[list[int]], pad: int, *, left: bool = False) -> dict[str, Any]:
    """Rows of ids -> "<name>_ids", (B, longest) long, and "<name>_mask", bool, which is True on the tokens."""
    longest = max(len(row) for row in rows)
    filled = [[pad] * (longest - len(row)) + row if left else row + [pad] * (longest - len(row)) for row in rows]
    ids = torch.tensor(filled, dtype=torch.long).view(len(rows), longest)
    lengths = torch.tensor([len(row) for row in rows])[:, None]
    place = torch.arange(longest)
    return {f"{name}_ids": ids, f"{name}_mask": place >= longest - lengths if left else place < lengths}


def _times(samples: Sequence[Sample], view: Tensor) -> Tensor | None:
    """(I, T) days of each view's frames since its first; None where a sample of the batch does not say when."""
    if not all("days" in sample.meta for sample in samples):
        return None
    times = torch.zeros(int(view.max()) + 1, max(len(sample.images) for sample in samples))
    for place, sample in zip(view.tolist(), samples, strict=True):
        days = torch.tensor(sample.meta["days"], dtype=torch.float64)
        if len(days) != len(sample.images):
            raise UserError(
                f"sample {sample.id!r} of {sample.source!r} has {len(sample.images)} images and {len(days)} days: "
                'expected one number of days an image in meta["days"]'
            )
        times[place, : len(days)] = days - days[0]
    return times
