"""The map of changes: exact zero for identical dates, blind to a small shift, told cell by cell, learned from pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.models import batch_of, codecs, tiny_model
from torch import Tensor
from torch.nn import functional as F

from rsmoe.data.change.cells import CELLS
from rsmoe.data.change.facts import facts_of_masks
from rsmoe.errors import UserError
from rsmoe.evaluation.answer import answer_batch
from rsmoe.maps import MapEvidence
from rsmoe.maps.change import Change
from rsmoe.maps.region_tokens import change_regions
from rsmoe.temporal import VisualMemory

WIDTHS = (8, 16)


def change_map(**more: int) -> Change:
    torch.manual_seed(0)
    return Change(**({"pyramid_widths": WIDTHS, "width": 32, "bands": 3, "channels": 16} | more))


def pyramid(pairs: int = 2, seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(pairs, w, s, s, generator=generator) for w, s in zip(WIDTHS, (12, 6), strict=True)]


PIXELS = torch.zeros(2, 2, 3, 24, 24)


def told(module: Change, evidence: MapEvidence, truth: Tensor | None = None) -> Tensor:
    return module.tokens(evidence, pixels=PIXELS, truth=truth).tokens


def between(module: Change, level: int, before: Tensor, after: Tensor) -> Tensor:
    return module.difference(module.features[level](before), module.features[level](after))


def test_shapes_and_an_empty_batch() -> None:
    module = change_map(kinds=5)
    evidence = module([pyramid(), pyramid(seed=2)])
    assert evidence.logits.shape == (2, 6, 12, 12) and told(module, evidence).shape == (2, 14, 32)
    empty = module([pyramid(0), pyramid(0)])
    assert empty.logits.shape == (0, 6, 12, 12) and told(module, empty).shape == (0, 14, 32)
    losses = module.losses(empty, torch.zeros(0, 24, 24, dtype=torch.uint8))
    assert all(not v.any() for v in losses.values())


@pytest.mark.parametrize("search", [0, 1, 2])
def test_identical_dates_give_exactly_zero_difference(search: int) -> None:
    module = change_map(search=search)
    for level, x in enumerate(pyramid()):
        assert not between(module, level, x, x).any()
    # the evidence of no change is then the same for all places on earth
    one, other = (told(module, module([pyramid(seed=s), pyramid(seed=s)])) for s in (1, 5))
    torch.testing.assert_close(one, other)
    assert not torch.allclose(one, told(module, module([pyramid(seed=1), pyramid(seed=5)])), atol=1e-3)


def test_the_window_takes_the_best_match() -> None:
    module = change_map(search=1)
    a, b = pyramid()[0], pyramid(seed=2)[0]
    fa, fb = module.features[0](a), module.features[0](b)
    found = between(module, 0, a, b)
    padded = F.pad(fa, (1, 1, 1, 1), mode="replicate")
    for p in range(2):
        for y in range(0, 12, 5):
            for x in range(0, 12, 5):
                near = padded[p, :, y : y + 3, x : x + 3].flatten(1)  # (C, 9)
                gaps = fb[p, :, y, x, None] - near
                best = gaps[:, gaps.square().sum(0).argmin()]
                torch.testing.assert_close(found[p, :, y, x], best)


def test_a_shift_within_the_window_is_no_change() -> None:
    x = pyramid()[0]
    moved = x.roll(1, dims=-1)
    # GroupNorm sees the same values in another order, so that features move with the picture
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    found = between(change_map(search=1), 0, x, moved)
    torch.testing.assert_close(found[inner], torch.zeros(2, 16, 8, 8))
    assert between(change_map(search=0), 0, x, moved)[inner].abs().mean() > 0.3


def test_losses_by_hand_and_unknown_pixels() -> None:
    module = change_map(kinds=2)
    evidence = module([pyramid(), pyramid(seed=2)])
    target = torch.randint(0, 3, (2, 12, 12), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    losses = module.losses(evidence, target)
    torch.testing.assert_close(losses["change"], F.cross_entropy(evidence.logits, target.long()))
    p, truth = 1 - evidence.logits.softmax(1)[:, 0], (target > 0).float()
    dice = 1 - (2 * (p * truth).sum((1, 2)) + 1) / ((p + truth).sum((1, 2)) + 1)
    torch.testing.assert_close(losses["change_dice"], dice.mean())
    target[1] = 255  # the second pair has no map
    alone = module.losses(replace(evidence, logits=evidence.logits[:1]), target[:1])
    for name, value in module.losses(evidence, target).items():
        torch.testing.assert_close(value, alone[name])


def test_a_speck_is_told_nowhere_and_a_region_is() -> None:
    module = change_map(kinds=2, min_pixels=5)
    evidence = module([pyramid(), pyramid(seed=2)])
    nothing, speck, region = (torch.full_like(evidence.logits, -4.0) for _ in range(3))
    for logits, side in ((nothing, 0), (speck, 2), (region, 3)):
        logits[:, 0] = 4.0
        logits[:, 0, :side, :side] = -4.0
        logits[:, 2, :side, :side] = 4.0
    tokens = [told(module, replace(evidence, logits=logits)) for logits in (nothing, speck, region)]
    torch.testing.assert_close(tokens[0], tokens[1], atol=0, rtol=0)
    assert (tokens[2] - tokens[0]).abs().amax((0, 2))[[0, -1]].min() > 0.1  # the cell, and the kind
    torch.testing.assert_close(tokens[2][:, 1:9], tokens[0][:, 1:9])


def test_a_sure_change_of_unsure_kind_is_a_change() -> None:
    p = torch.tensor([[0.4, 0.6, 0.5, 0.1], [0.35, 0.4, 0.2, 0.3], [0.25, 0.0, 0.3, 0.6]])[:, None]
    module = change_map(kinds=2)
    assert module.classify(p).tolist() == [[1, 0, 0, 2]] and module.classify(3 * p).dtype == torch.uint8
    assert torch.equal(module.classify(3 * p), module.classify(p))  # shares of any scale


def test_it_learns_where_a_square_appears() -> None:
    module = change_map()
    generator = torch.Generator().manual_seed(3)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(60):
        before = [torch.randn(8, w, s, s, generator=generator) for w, s in zip(WIDTHS, (12, 6), strict=True)]
        target = torch.zeros(8, 12, 12, dtype=torch.uint8)
        after = [level.clone() for level in before]
        for pair in range(4):  # half of the pairs stay
            y, x = torch.randint(0, 4, (2,), generator=generator).tolist()
            target[pair, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4] = 1
            after[0][pair, :, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4] += 2
        evidence = module([before, after])
        loss = sum(module.losses(evidence, target).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = evidence.logits.argmax(1) > 0
    iou = (found & (target > 0)).sum() / (found | (target > 0)).sum()
    assert iou > 0.8, float(iou)


def test_the_tokens_of_a_map_stand_behind_the_memory_of_pairs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = tiny_model("maps=[change]"), batch_of()
    read: list[VisualMemory] = []
    real = model.qformer.forward  # type: ignore[attr-defined]
    monkeypatch.setattr(model.qformer, "forward", lambda memory, *rest: read.append(memory) or real(memory, *rest))
    with torch.no_grad():
        model.maps["change"].logits.bias[0] -= 1.0  # type: ignore[attr-defined]  # something has changed
        sight, plain = model.see(batch), tiny_model().see(batch)
        model.perceive(batch, sight=sight)
        swapped = replace(batch, pixels=batch.pixels.flip(1))
        model.perceive(swapped)
    assert torch.equal(sight.memory.tokens, plain.memory.tokens)
    assert sight.maps["change"].views.tolist() == (batch.frames == 2).nonzero().flatten().tolist()
    before, paired = plain.memory.mask.shape[1], (batch.frames == 2)[batch.view]
    memory, other = read
    assert memory.mask.shape[1] == before + 9 + len(model.maps["change"].names) - 1
    assert torch.equal(memory.mask[:, before:].any(1), paired)
    assert not memory.tokens[~paired, before:].any()
    gap = (memory.tokens - other.tokens)[paired, before:].abs().max()
    assert gap > 1e-3  # what appeared is not what vanished


def test_options_and_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"change\.channels=12"):
        change_map(channels=12)
    module = change_map(kinds=2)
    with pytest.raises(UserError, match="kind of change 7"):
        module.losses(module([pyramid(), pyramid(seed=2)]), torch.full((2, 12, 12), 7, dtype=torch.uint8))


def test_the_bypass_holds_the_map_of_a_pair_and_the_grid_of_a_single_picture() -> None:
    model, batch = tiny_model("maps=[change]", "bypass=grid"), batch_of()
    assert model.bypass is not None and model.bypass.grid is not None
    part = model.maps["change"]
    with torch.no_grad():
        seen, alone = model.perceive(batch), model.perceive(batch.take([0]))
        sight, prefix = seen.sight, seen.prefix
        change = sight.maps["change"]
        shown = part.tokens(change.evidence, pixels=batch.pixels[change.views]).tokens  # (P, 10, D)
        cells = [
            torch.nn.functional.adaptive_avg_pool2d(level, 3).flatten(2).transpose(1, 2) for level in sight.pyramid
        ]
        grid = model.bypass.grid(torch.cat(cells, dim=2)) + model.bypass.places
        past = model.bypass.project
        paired = (batch.frames == 2)[batch.view]
        queries = model.qformer.queries
        assert paired.any() and not paired.all() and prefix.tokens.shape[1] == 1 + 10 + queries
        for row, view in enumerate(batch.view.tolist()):
            if paired[row]:
                expected = past(shown[change.views.tolist().index(view)])
                assert prefix.mask[row].all()
            else:
                expected = past(grid[view])
                assert prefix.mask[row, :10].all() and not prefix.mask[row, 10] and prefix.mask[row, 11:].all()
            torch.testing.assert_close(prefix.tokens[row, 1 : 1 + len(expected)], expected, atol=1e-5, rtol=1e-4)
    # whoever else is asked in the same batch changes nothing
    valid = prefix.mask[0]
    torch.testing.assert_close(alone.prefix.tokens[0], prefix.tokens[0][valid], atol=1e-5, rtol=1e-4)
    mean = tiny_model("maps=[change]", "bypass=mean").perceive(batch)
    assert mean.prefix.mask.sum(1).tolist() == [1 + queries + (10 if pair else 0) for pair in paired.tolist()]


def test_the_token_of_a_cell_tells_the_kinds_that_are_likely_there() -> None:
    module = change_map(kinds=2)
    with torch.no_grad():
        module.logits.weight.zero_()
        module.logits.bias.copy_(torch.tensor([0.0, 5.0, 0.0]))
        one = told(module, module([pyramid(), pyramid(seed=2)]))
        module.logits.bias.copy_(torch.tensor([0.0, 0.0, 5.0]))
        other = told(module, module([pyramid(), pyramid(seed=2)]))
    assert (one - other).abs().max() > 1e-2  # as much change, of another kind


def test_regions_are_counted_and_placed_by_the_rules_of_change_instructions() -> None:
    maps = torch.zeros(2, 30, 30, dtype=torch.uint8)
    maps[0, 2:6, 2:6] = maps[0, 2:6, 24:28] = 1  # two houses in the top corners
    maps[0, 12:28, 14] = 2  # a road from the middle down
    maps[0, 20, 2:4] = 2  # a speck
    named, counts = change_regions(maps, number=3, min_pixels=4)
    assert counts.tolist() == [[2, 1, 0], [0, 0, 0]]
    assert [named[0, k].nonzero().flatten().tolist() for k in range(3)] == [[0, 2], [4, 7], []]
    assert not named[1].any()
    for kind, noun in ((1, "building"), (2, "road")):
        facts = facts_of_masks(
            {noun: maps[0].numpy() == kind}, id="0", images=(Path("a"), Path("b")), source="hand", min_pixels=4
        )
        assert facts.counts[noun] == counts[0, kind - 1]
        assert list(facts.cells[noun]) == [CELLS[i] for i in named[0, kind - 1].nonzero().flatten().tolist()]


def test_tokens_tell_how_many_regions_there_are() -> None:
    module = change_map(min_pixels=2)
    truth = torch.zeros(2, 12, 12, dtype=torch.uint8)
    truth[0, 4, 4:8] = 1
    truth[1, 4, 4:6] = truth[1, 6, 4:6] = 1  # as much of the same cell, in two regions
    levels = [level[:1].expand(2, -1, -1, -1) for level in pyramid()]
    one, two = told(module, module([levels, levels]), truth)[:, 9]
    assert (one - two).abs().max() > 1e-2
    truth[0] = truth[1]
    one, two = told(module, module([levels, levels]), truth)[:, 9]
    torch.testing.assert_close(one, two)
    truth[:] = 0
    one, two = told(module, module([levels, levels]), truth)[:, 9]
    torch.testing.assert_close(one, module.regions(module.kind)[0])  # its name alone: none of that kind


def test_it_runs_in_bfloat16_weights() -> None:
    before, after = ([level.bfloat16() for level in pyramid(seed=s)] for s in (1, 2))
    module = change_map(kinds=2).bfloat16()
    assert told(module, module([before, after])).dtype == torch.bfloat16


def test_tokens_describe_the_true_map_where_it_is_given_and_known() -> None:
    module = change_map(kinds=2)
    before, after = pyramid(), pyramid(seed=2)
    truth = torch.zeros(2, 24, 24, dtype=torch.uint8)
    truth[0, :8, 16:] = 2  # all of the cell at the top right
    truth[1, 0, 0] = 255  # not known all over: of that pair the prediction stays
    evidence = module([before, after])
    seen, true = told(module, evidence), told(module, evidence, truth)
    assert torch.equal(seen[1], true[1])
    cells = true[0, :9] - module.places
    changed = [i for i in range(9) if not torch.allclose(cells[i], cells[0], atol=1e-4)]
    assert changed == [2]  # cells without any change say the same


def test_the_mask_of_a_pair_is_its_map_and_that_of_a_picture_the_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = tiny_model("maps=[change]"), batch_of()
    seg = model.special["[SEG]"]
    monkeypatch.setattr(model, "generate", lambda *_, **__: [[seg]] * len(batch))
    with torch.no_grad():
        answers = answer_batch(model, codecs()[0], batch, beams=1, max_new=4)
    for row, answer in enumerate(answers):
        assert answer.mask is not None
        if int(batch.frames[batch.view[row]]) == 2:
            assert answer.change_map is not None and (answer.mask == (answer.change_map > 0)).all()
        else:
            assert answer.change_map is None
    pairs = (batch.frames[batch.view] == 2).nonzero().flatten()
    ids = torch.full_like(batch.response_ids[:, :1], seg)
    asked = replace(batch, response_ids=ids, response_mask=torch.ones_like(ids).bool())
    index = next(i for i, e in enumerate(model.experts) if e.token == "[SEG]")
    inputs = model.head_inputs(asked, model.read(asked))[index]
    assert inputs.sample[inputs.compared].tolist() == pairs.tolist()
    expert = model.experts[index]
    alone = expert.losses(inputs[~inputs.compared], asked)
    for name, value in expert.losses(inputs, asked).items():  # a pair has no mask of its own to learn
        torch.testing.assert_close(value, alone[name])
    assert expert.losses(inputs[inputs.compared], asked) == {}
