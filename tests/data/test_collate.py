"""Samples to batches: shapes and padding, augmentation that keeps the text true, determinism, the cache."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rsmoe.data import Sample
from rsmoe.data.batch import Batch
from rsmoe.data.collate import Collate
from rsmoe.data.tasks import task_names
from rsmoe.data.text_codec import TextCodec
from rsmoe.data.transforms.image_cache import ImageCache
from rsmoe.data.transforms.transforms import resize
from rsmoe.errors import UserError

CODEC = TextCodec.fit(
    ["describe this image . q : a what is here ? one two three four five six"], special=("[SEG]", "[RET]")
)
SIZE = 16
EIGHT = [np.rot90(np.arange(SIZE * SIZE).reshape(SIZE, SIZE), k) for k in range(4)]
EIGHT += [turned[:, ::-1] for turned in EIGHT]


def picture(seed: int = 0, bands: int = 3, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, bands), dtype=np.uint8)


def make(**more: Any) -> Sample:
    given = {
        "id": "s",
        "images": (picture(),),
        "instruction": "describe this image .",
        "responses": ("one", "two three", "four five six"),
        "task": "caption",
        "source": "toy",
    }
    return Sample(**(given | more))


def collate(**more: Any) -> Collate:
    plain = {"codec": CODEC, "instruction_codec": CODEC, "image_size": SIZE, "mean": [0.5] * 3, "std": [0.25] * 3}
    return Collate(**(plain | more))


def texts(ids: torch.Tensor, mask: torch.Tensor) -> list[str]:
    return [CODEC.decode(row[keep].tolist()) for row, keep in zip(ids, mask, strict=True)]


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True) if torch.is_tensor(x))


# --- the batch ---


def test_a_batch_has_the_shapes_of_its_contract() -> None:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[4:8] = True
    samples = [
        make(),
        make(images=(picture(1), picture(2)), task="change_caption", instruction="what"),
        make(task="mask", mask=mask, responses=("here [SEG]",)),
    ]
    batch = collate()([(s, 5) for s in samples])
    assert batch.pixels.shape == (3, 2, 3, SIZE, SIZE) and batch.pixels.dtype == torch.float32
    assert batch.frames.tolist() == [1, 2, 1] and not batch.pixels[0, 1].any() and batch.pixels[1, 1].any()
    assert batch.task.tolist() == [task_names().index(s.task) for s in samples]
    assert batch.has_mask.tolist() == [False, False, True]
    assert batch.masks.dtype == torch.uint8
    assert batch.masks.shape == (3, SIZE, SIZE) and batch.masks[2].sum() == 4 * SIZE and not batch.masks[:2].any()
    assert batch.samples == tuple(samples) and len(batch) == 3
    for ids, valid in (
        (batch.instruction_ids, batch.instruction_mask),
        (batch.prompt_ids, batch.prompt_mask),
        (batch.response_ids, batch.response_mask),
    ):
        assert ids.dtype == torch.long and valid.dtype == torch.bool and ids.shape == valid.shape
        assert (ids[~valid] == CODEC.pad_id).all()


def test_prompts_are_padded_left_and_responses_right_with_an_end() -> None:
    batch = collate()([(make(instruction="what", responses=("one",)), 0), (make(responses=("two three",)), 0)])
    assert batch.prompt_mask.tolist() == [[False] * 3 + [True], [True] * 4]
    assert batch.instruction_mask.tolist() == [[True] + [False] * 3, [True] * 4]
    assert batch.response_mask.tolist() == [[True, True, False], [True] * 3]
    assert batch.response_ids[0, 1] == batch.response_ids[1, 2] == CODEC.eos_id
    assert texts(batch.prompt_ids, batch.prompt_mask) == ["what", "describe this image ."]
    assert texts(batch.response_ids, batch.response_mask) == ["one", "two three"]


def test_inference_has_no_responses() -> None:
    batch = collate(inference=True)([(make(), 0), (make(), 1)])
    assert batch.response_ids.shape == batch.response_mask.shape == batch.text_ids.shape == (2, 0)
    assert batch.response_ids.dtype == torch.long


def test_history_comes_before_the_instruction_in_the_prompt_alone() -> None:
    sample = make(history=(("what is here ?", "one"), ("what ?", "two")))
    batch = collate()([(sample, 0)])
    expected = "q : what is here ? a : one q : what ? a : two describe this image ."
    assert texts(batch.prompt_ids, batch.prompt_mask) == [expected]
    assert texts(batch.instruction_ids, batch.instruction_mask) == ["describe this image ."]
    short = collate(max_prompt=5)([(sample, 0)])
    assert texts(short.prompt_ids, short.prompt_mask) == ["two describe this image ."]


def test_a_response_that_is_cut_still_ends_and_warns() -> None:
    with pytest.warns(UserWarning, match="5 tokens is cut to 2"):
        batch = collate(max_response=3)([(make(responses=("one two three four five",)), 0)])
    assert texts(batch.response_ids, batch.response_mask) == ["one two"]
    assert batch.response_ids[0, -1] == CODEC.eos_id


def test_a_retrieval_answer_does_not_hold_the_caption() -> None:
    samples = [make(task="retrieval", responses=("one two [RET]",)), make()]
    batch = collate()([(s, 0) for s in samples])
    assert texts(batch.response_ids, batch.response_mask)[0] == "[RET]"
    assert texts(batch.text_ids, batch.text_mask) == ["one two", ""]
    assert texts(*(lambda b: (b.text_ids, b.text_mask))(collate(inference=True)([(samples[0], 0)]))) == ["one two"]


def test_every_reference_is_drawn_and_the_seed_decides() -> None:
    batch = collate()([(make(), seed) for seed in range(60)])
    drawn = texts(batch.response_ids, batch.response_mask)
    assert {drawn.count(r) > 8 for r in make().responses} == {True}
    again = collate()([(make(), seed) for seed in range(60)])
    assert same(batch, again)


def test_the_same_pairs_give_the_same_batch_whatever_came_before() -> None:
    pairs = [(make(images=(picture(i),)), 100 + i) for i in range(6)]
    used = collate(augment=True)
    used(pairs[::-1])
    torch.manual_seed(1)
    one = used(pairs)
    torch.manual_seed(2)
    assert same(one, collate(augment=True)(pairs))
    alone = collate(augment=True)(pairs[2:3])  # its neighbours in the batch do not matter either
    assert torch.equal(alone.pixels[0], one.pixels[2])
    assert not torch.equal(one.pixels, collate(augment=True)([(s, seed + 1) for s, seed in pairs]).pixels)


def test_options_out_of_range() -> None:
    with pytest.raises(UserError, match="at least 2 tokens"):
        collate(max_response=1)
    with pytest.raises(UserError, match="mean has 3 values and std 4"):
        collate(std=[1.0] * 4)
    with pytest.raises(UserError, match="align_px=8: expected less than"):
        collate(align_px=8)


def test_bands_are_checked_and_any_number_works() -> None:
    with pytest.raises(UserError, match="has 4 bands, expected 3.*bands=4"):
        collate()([(make(images=(picture(bands=4),)), 0)])
    batch = collate(mean=[0.5] * 4, std=[0.1] * 4)([(make(images=(picture(bands=4),)), 0)])
    assert batch.pixels.shape[2] == 4


# --- geometry ---


def coded(batch: Batch, item: int, frame: int = 0) -> np.ndarray:
    """The picture of `grid` back as numbers 0-255."""
    return ((batch.pixels[batch.view[item], frame, 0] * 0.25 + 0.5) * 255).round().numpy().astype(int)


def grid() -> np.ndarray:
    """A picture whose every pixel is another value."""
    return np.repeat(np.arange(SIZE * SIZE, dtype=np.uint8).reshape(SIZE, SIZE, 1), 3, axis=2)


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=8))
def test_directional_samples_are_never_turned_or_cropped(seeds: list[int]) -> None:
    sample = make(images=(grid(),), directional=True)
    batch = collate(augment=True, jitter=0.0)([(sample, seed) for seed in seeds])
    for i in range(len(seeds)):
        assert (coded(batch, i) == EIGHT[0]).all()


def test_all_eight_turns_occur_for_others() -> None:
    batch = collate(augment=True, jitter=0.0, crop_area=1.0)([(make(images=(grid(),)), seed) for seed in range(100)])
    seen = {next(k for k, turned in enumerate(EIGHT) if (coded(batch, i) == turned).all()) for i in range(100)}
    assert seen == set(range(8))


def test_both_dates_and_the_mask_get_the_same_geometry() -> None:
    mask = grid()[..., 0] % 7 == 0
    sample = make(images=(grid(), grid()), mask=mask, task="mask", responses=("[SEG]",))
    batch = collate(augment=True, jitter=0.0)([(sample, seed) for seed in range(30)])
    for i in range(30):
        assert (coded(batch, i, 0) == coded(batch, i, 1)).all()
        assert torch.equal(batch.masks[i], torch.tensor(coded(batch, i) % 7 == 0).float())


@pytest.mark.parametrize("task", ["vqa", "change_caption", "mask"])
def test_only_captions_and_retrieval_are_cropped(task: str) -> None:
    def values(sample: Sample) -> bool:
        batch = collate(augment=True, jitter=0.0)([(sample, seed) for seed in range(10)])
        return all((np.sort(coded(batch, i).ravel()) == np.arange(256)).all() for i in range(10))

    sample = make(images=(grid(),))
    assert not values(sample)
    assert values(replace(sample, task=task))


def test_relighting_keeps_hue_and_differs_by_date() -> None:
    flat = np.zeros((SIZE, SIZE, 3), np.uint8) + np.array([40, 80, 120], np.uint8)
    sample = make(images=(flat, flat), directional=True)
    pixels = collate(augment=True, mean=[0.0] * 3, std=[1.0] * 3)([(sample, 3)]).pixels[0, :, :, 0, 0]
    assert (pixels[:, 0] < pixels[:, 1]).all() and (pixels[:, 1] < pixels[:, 2]).all()
    assert not torch.equal(pixels[0], pixels[1])
    assert (pixels / (torch.tensor([40, 80, 120]) / 255) - 1).abs().max() < 0.5


def test_evaluation_only_normalises() -> None:
    image = picture(3)
    pixels = collate()([(make(images=(image,)), 9)]).pixels[0, 0]
    expected = (torch.from_numpy(image).permute(2, 0, 1) / 255 - 0.5) / 0.25
    assert torch.allclose(pixels, expected, atol=1e-6)


def test_resize_is_antialiased_and_keeps_a_flat_picture_flat() -> None:
    checks = np.repeat((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    small = resize(checks, 8)
    assert small.dtype == torch.uint8 and small.shape == (3, 8, 8)
    assert (small.int() - 127).abs().max() <= 3  # without antialiasing it would be 0 or 255
    assert (resize(np.full((37, 21, 2), 200, np.uint8), 8) == 200).all()


def test_a_mask_is_resized_by_majority() -> None:
    mask = np.zeros((32, 64), bool)
    mask[:, :32] = True
    mask[0, 40] = True  # one of eight pixels under an output pixel
    numbers = ImageCache(size=16, max_bytes=0).numbers(make(mask=mask))
    assert numbers is not None and numbers[:, :8].all() and not numbers[:, 8:].any()


# --- the cache ---


def test_the_cache_decodes_once_up_to_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        Image.fromarray(picture(i)).save(path)
    decoded: list[Path] = []
    real = ImageCache.__call__.__globals__["load_image"]
    monkeypatch.setattr("rsmoe.data.transforms.image_cache.load_image", lambda p: decoded.append(p) or real(p))
    cache = ImageCache(size=SIZE, max_bytes=2 * 3 * SIZE * SIZE)
    first = [cache(p) for p in paths]
    assert all(torch.equal(cache(p), image) for p, image in zip(paths, first, strict=True))
    assert len(cache) == 2 and decoded == [*paths, paths[2]]
    assert len(pickle.loads(pickle.dumps(cache))) == 0


def test_augmentation_does_not_write_into_the_cache(tmp_path: Path) -> None:
    Image.fromarray(grid()).save(tmp_path / "a.png")
    use = collate(augment=True)
    for seed in range(5):
        use([(make(images=(tmp_path / "a.png",)), seed)])
    assert (use.cache(tmp_path / "a.png")[0].numpy() == grid()[..., 0]).all()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "zero.png").touch()
    with pytest.raises(UserError, match=r"zero\.png is empty"):
        collate()([(make(images=(tmp_path / "zero.png",)), 0)])


# --- requests that share a view ---


def test_requests_on_one_picture_share_its_view() -> None:
    image = picture()
    mask = np.zeros((SIZE, SIZE), bool)
    mask[:4, :8] = True
    samples = [
        make(id="a", images=(image,)),
        make(id="b", images=(image,), task="vqa", instruction="what is here ?", responses=("one",)),
        make(id="c", images=(image,), task="mask", mask=mask, responses=("here [SEG]",)),
        make(id="d", images=(picture(9),)),
    ]
    join = collate(augment=True, crop_area=0.3, jitter=0.0)
    batch = join([(s, 7) for s in samples])
    assert batch.pixels.shape[0] == 2 and batch.view.tolist() == [0, 0, 0, 1]
    # a caption alone may be cropped; beside a mask it may not, and the mask turns with the pixels
    shown = (batch.pixels[0, 0] * 0.25 + 0.5) * 255
    original = torch.from_numpy(image).permute(2, 0, 1).float()
    turns = [torch.rot90(original, k, (-2, -1)) for k in range(4)]
    turns += [t.flip(-1) for t in turns]
    fits = [i for i, t in enumerate(turns) if torch.allclose(shown, t, atol=0.5)]
    assert len(fits) == 1
    turned = torch.rot90(torch.from_numpy(mask), fits[0] % 4, (-2, -1))
    assert torch.equal(batch.masks[2].bool(), turned.flip(-1) if fits[0] >= 4 else turned)
    assert join([(s, 7 + i) for i, s in enumerate(samples)]).pixels.shape[0] == 4  # other seeds, other views
    taken = batch.take([3, 1])
    assert torch.equal(taken.pixels[taken.view], batch.pixels[batch.view[[3, 1]]])


def test_one_directional_request_keeps_the_view_upright() -> None:
    image = picture()
    plain, told = make(id="a", images=(image,)), make(id="b", images=(image,), directional=True)
    for seed in range(8):
        batch = collate(augment=True, jitter=0.0)([(plain, seed), (told, seed)])
        assert torch.equal(batch.pixels[0], collate()([(plain, 0)]).pixels[0])


def test_a_sample_asked_again_takes_its_next_reference() -> None:
    sample = make()
    batch = collate()([(sample, 3)] * 4)
    said = texts(batch.response_ids, batch.response_mask)
    assert set(said[:3]) == {"one", "two three", "four five six"} and said[3] == said[0]
    assert len(batch.pixels) == 1
