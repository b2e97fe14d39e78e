"""Change instructions as data sets: generated pairs and real ones, one view for all that is asked of a pair."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from rich.console import Console
from support.models import collate, tiny_config, tiny_model
from support.readers import config, reader, same, write
from support.release_change import levir_mci, second

import rsmoe.scenes.pair_store as pair_store
from rsmoe.config import compose, conf_dir
from rsmoe.data.change.answers import read_target
from rsmoe.data.collate import Collate
from rsmoe.data.corpus import absent_from, build_corpus
from rsmoe.data.rasters.images import read_array
from rsmoe.data.sample import Sample
from rsmoe.data.text_codec import TextCodec
from rsmoe.errors import UserError
from rsmoe.evaluation.answer import answer_batch
from rsmoe.evaluation.prediction_lines import from_row, to_line
from rsmoe.metrics.change.agreement import ChangeAgreement
from rsmoe.metrics.change.map_iou import ChangeMapOverlap
from rsmoe.metrics.metric import Metric
from rsmoe.metrics.prediction import Prediction
from rsmoe.metrics.scoring import tally_results
from rsmoe.parts import instantiate
from rsmoe.scenes.language.change_language import CHANGE_KINDS
from rsmoe.scenes.scene_changes import SceneChanges
from rsmoe.settings.stage import stages_of

PAIRS = 4


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def scenes(
    cache: str, monkeypatch_module: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> SceneChanges:
    """Four pairs of 32 px in a block of four; of a block two are changed, or more."""
    monkeypatch_module.setattr(pair_store, "BLOCK", PAIRS)
    monkeypatch_module.setenv("RSMOE_CACHE", str(tmp_path_factory.mktemp("other")))  # other tests want whole blocks
    return SceneChanges(split="train", scenes={"train": PAIRS}, size_px=32, cache=cache)


@pytest.fixture(scope="module")
def monkeypatch_module() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def samples(scenes: SceneChanges) -> list[Sample]:
    return [scenes[i] for i in range(len(scenes))]


@pytest.fixture(scope="module")
def codec(samples: list[Sample]) -> TextCodec:
    texts = [t for s in samples for t in (s.instruction, *s.responses, *(f"q: {q} a: {a}" for q, a in s.history))]
    return TextCodec.fit(texts, special=["[SEG]", "[RET]"])


def test_twelve_rows_a_pair(scenes: SceneChanges, samples: list[Sample]) -> None:
    assert len(scenes) == 12 * PAIRS and scenes.protocol == "generated/" and scenes.split == "train"
    assert len({s.id for s in samples}) == len(samples)
    asked = Counter(s.meta["asks"] for s in samples[:12])
    assert asked == {"caption": 2, "presence": 2, "count": 2, "location": 1, "open": 4, "mask": 1}
    states = [samples[12 * i].kind for i in range(PAIRS)]
    assert {"changed", "unchanged"} == set(states)
    for i in range(PAIRS):
        rows = samples[12 * i : 12 * i + 12]
        assert len({id(image) for s in rows for image in s.images}) == 2
        for s in rows:
            kinds = read_array(s.class_map)
            assert kinds.shape == (32, 32) and s.classes[0] == "no change" and kinds.max() < len(s.classes)
            assert bool(kinds.any()) == (states[i] == "changed")
        np.testing.assert_array_equal(read_array(rows[-1].mask), kinds > 0)
    assert scenes[-1] is samples[-1] and scenes[3] is samples[3]
    with pytest.raises(IndexError):
        scenes[len(scenes)]


def test_pairs_are_rendered_once_and_read_back_the_same(
    samples: list[Sample], cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr(pair_store.SceneGenerator, "pair", never)
    again = SceneChanges(split="train", size=30, size_px=32, cache=cache)
    assert len(again) == 30
    for mine, theirs in zip(samples, (again[i] for i in range(30)), strict=False):
        assert (mine.id, mine.instruction, mine.responses, mine.meta, mine.history, mine.kind) == (
            theirs.id, theirs.instruction, theirs.responses, theirs.meta, theirs.history, theirs.kind
        )  # fmt: skip
        for a, b in zip(mine.images, theirs.images, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(mine.class_map, theirs.class_map)
    other = SceneChanges(split="test", size=1, size_px=32, cache=cache)
    with pytest.raises(AssertionError, match="rendered again"):
        other[0]


def test_a_damaged_block_says_what_to_delete(
    cache: str, tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = Path(cache).rglob("*.npz")
    copy = tmp_path / block.relative_to(cache)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(block.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"000000.npz is damaged .* Delete it"):
        SceneChanges(split="train", size=1, size_px=32, cache=str(tmp_path))[0]
    copy.write_bytes(block.read_bytes())
    monkeypatch.setattr(pair_store, "BLOCK", 16)
    with pytest.raises(UserError, match=r"damaged \(4 pairs instead of 16\)"):
        SceneChanges(split="train", size=1, size_px=32, cache=str(tmp_path))[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"root": "x"}, "leave data.root out"),
        ({"kinds": ["captions"]}, "unknown kind of .* 'captions'. Did you mean 'caption'"),
        ({"kinds": []}, "at least one row of one kind"),
        ({"size": 0}, "at least one row"),
        ({"split": "dev"}, "unknown split 'dev'"),
        ({"scenes": {"test": 3}}, "unknown split of scene_changes 'train'"),
    ],
)
def test_what_cannot_be_generated_is_refused(options: dict[str, Any], message: str, cache: str) -> None:
    with pytest.raises(UserError, match=message):
        SceneChanges(**{"split": "train", "size": 12, "size_px": 32, "cache": cache, **options})


def test_requests_on_a_pair_share_its_view_and_its_map(samples: list[Sample]) -> None:
    batch = collate()([(s, 5 + i // 12) for i, s in enumerate(samples[:24])])
    assert len(batch.pixels) == 2 and batch.view.tolist() == [0] * 12 + [1] * 12
    for view in range(2):
        np.testing.assert_array_equal(batch.class_map[view].numpy(), samples[12 * view].class_map)
    assert batch.has_mask.tolist() == [s.task == "mask" for s in samples[:24]]


def test_the_third_turn_changes_with_the_first(samples: list[Sample], codec: TextCodec) -> None:
    turns = [s for s in samples[:12] if s.kind == "dialogue"]
    assert [len(s.history) for s in turns] == [0, 1, 2]
    assert turns[2].history[0] == (turns[0].instruction, turns[0].responses[0])
    assert turns[2].history[1] == (turns[1].instruction, turns[1].responses[0])
    chosen = compose(["experiment=changechat_moe"])
    options = {**OmegaConf.to_container(chosen.loader.collate), "image_size": 32}  # type: ignore[dict-item]
    whole = Collate(codec=codec, instruction_codec=codec, mean=(0.5,) * 3, std=(0.25,) * 3, inference=True, **options)
    first, *rest = turns[2].history
    other = "No" if first[1] == "Yes" else "Yes"
    lied = replace(turns[2], history=((first[0], other), *rest))
    forgot = replace(turns[2], history=tuple(rest))
    batches = [whole([(s, 0)]) for s in (turns[2], lied, forgot)]
    said = [codec.decode(b.prompt_ids[0].tolist()) for b in batches]
    assert said[0].startswith("q : please judge whether") and f"a : {first[1].lower()}" in said[0]
    assert said[1] == said[0].replace(f"a : {first[1].lower()} q", f"a : {other.lower()} q") != said[0]
    assert "please judge" not in said[2]
    # and what the model reads differs at the very place, up to the distribution of the first word
    with torch.no_grad():
        model = tiny_model("maps=[change]")
        small = collate(inference=True)
        told = [small([(s, 0)]) for s in (turns[2], forgot)]
        states = []
        for batch in told:
            seen = model.perceive(batch)
            embeds, mask, _ = model.start(batch, seen.prefix, seen.routing.rows())
            states.append(model.bank(embeds, mask, seen.routing.rows().expert).hidden[:, -1])
    assert told[0].prompt_ids.shape[1] > told[1].prompt_ids.shape[1]
    assert float((states[0][0] - states[1][0]).abs().max()) > 1e-4


def test_nothing_is_cut_and_what_the_model_writes_can_be_read(samples: list[Sample], codec: TextCodec) -> None:
    """Under the limits of the experiment, through the tokenizer that puts spaces around every mark."""
    chosen = compose(["experiment=changechat_moe"])
    options = chosen.loader.collate
    for s in samples:
        prompt = " ".join([*(f"q: {q} a: {a}" for q, a in s.history), s.instruction])
        assert len(codec.encode(prompt)) <= options.max_prompt
        for answer in s.responses:
            ids = codec.encode(answer)
            assert len(ids) < min(options.max_response, chosen.evaluation.max_new)
        target = read_target(s.meta["asks"], s.responses[0])
        assert read_target(s.meta["asks"], codec.decode(codec.encode(s.responses[0]))) == target
    worst = "roads: [{0}]. buildings: [{0}].".format(", ".join(f"'{v}-{h}'" for v in "abc" for h in "abc"))
    assert len(codec.encode(worst)) < chosen.evaluation.max_new


def test_levir_mci_gives_the_six_tasks(tmp_path: Path) -> None:
    levir_mci(tmp_path)
    data = reader("pair_instructions", tmp_path, split="train")
    rows = [data[i] for i in range(len(data))]
    assert data.counts == {"pairs": 2, "rows": 24} and data.protocol == "" and data.name == "levir_mci"
    assert all(s.class_map is not None and s.source == "levir_mci" for s in rows)
    by = {s.id: s for s in rows}
    count = by["train_000001.png:count"]
    assert count.meta["change_counts"] == {"road": 1, "building": 1} and count.meta["gsd_m"] == 0.5
    assert by["train_000001.png:caption"].kind == "changed" and len(by["train_000001.png:caption"].responses) == 5
    assert by["train_000002.png:presence"].responses == ("No",)
    batch = collate()([(s, 0) for s in rows[:12]])
    assert len(batch.pixels) == 1 and set(batch.class_map.unique().tolist()) == {0, 1, 2}


def test_second_cc_counts_what_became_a_class_or_ceased_to_be(tmp_path: Path) -> None:
    second(tmp_path)
    node = compose(["experiment=second_cc_moe"]).corpus.captions.reader
    inner = {**OmegaConf.to_container(node), "_partial_": True, "tasks": ["change_caption"]}  # type: ignore[dict-item]
    inner.pop("root")
    options = {"name": "second_cc", "reader": inner, "nouns": ["building", "tree"]}
    whole = {**config("pair_instructions"), "root": str(tmp_path), "split": "test", **options}
    data = instantiate(whole)
    same(data)
    by = {s.id: s for s in (data[i] for i in range(len(data)))}
    count = by["00012.png:count"]
    assert count.meta["change_counts"] == {"building": 1, "tree": 1} and len(count.classes) == 37
    assert read_array(by["00012.png:mask"].mask).sum() == 10
    with pytest.raises(UserError, match="no class pond among no change, "):
        instantiate({**whole, "nouns": ["pond"]})[0]


def test_mistakes_of_a_reader_reach_the_user(tmp_path: Path) -> None:
    levir_mci(tmp_path)
    with pytest.raises(UserError, match="levir_mci"):
        reader("pair_instructions", tmp_path, split="dev")
    with pytest.raises(UserError, match="no class pond"):
        reader("pair_instructions", tmp_path, split="train", nouns=["pond"])[0]
    write(tmp_path / "LevirCCcaptions.json", json.dumps({"images": []}))
    with pytest.raises(UserError, match="levir_mci is empty"):
        reader("pair_instructions", tmp_path, split="train")


@pytest.mark.parametrize("experiment", ["changechat_moe", "levir_cc_moe", "second_cc_moe"])
def test_without_a_folder_the_pairs_are_generated(experiment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RSMOE_DATA", raising=False)
    chosen: Any = OmegaConf.to_container(compose([f"experiment={experiment}"]).corpus, resolve=True)
    for entry in chosen.values():
        if "scenes" in entry["generated"]:
            entry["generated"]["scenes"] = dict.fromkeys(entry["generated"]["scenes"], 1)
    corpus = build_corpus(chosen, root=None, generated=True, console=Console(quiet=True))
    assert all(isinstance(d, SceneChanges) for d in (*corpus.train.values(), *corpus.test.values()))
    assert corpus.change_classes(kinds=len(CHANGE_KINDS) - 1) == list(CHANGE_KINDS)
    assert corpus.change_classes(kinds=1) == []  # a map of change or not has no name for what changed
    assert corpus.has_dialogues() == any("dialogue" in entry["generated"].get("kinds", ()) for entry in chosen.values())
    corpus.check_change()
    for stage in stages_of(OmegaConf.to_container(compose([f"experiment={experiment}"]), resolve=True)):
        assert set(stage.mix) <= set(chosen)
        assert set(stage.without(absent_from(corpus, chosen)).mix) <= set(corpus.train)


def test_the_sweep_names_every_way_to_compare() -> None:
    params = OmegaConf.load(conf_dir() / "experiment" / "change_temporal.yaml").hydra.sweeper.params
    ways = params.temporal.split(",")
    assert {"csrm", "csrm_paper", "subtract", "concat", "cross_attention"} == set(ways)
    for way in ways:
        assert compose(["experiment=change_temporal", f"temporal={way}"]).temporal._target_.startswith("rsmoe.temporal")


def test_every_schedule_teaches_the_map_on_the_mix_of_the_experiment() -> None:
    ways = OmegaConf.load(conf_dir() / "experiment" / "change_schedule.yaml").hydra.sweeper.params.schedule.split(",")
    for way in [*ways, "from_scratch"]:
        config: Any = OmegaConf.to_container(compose(["experiment=change_schedule", f"schedule={way}"]), resolve=True)
        stages = stages_of(config)
        text = [stage for stage in stages if "text" in stage.losses]
        assert all(stage.mix == config["mix"] and stage.requests_per_view == 12 for stage in text)
        assert sum(stage.steps for stage in text) == 680


def test_predictions_carry_the_map_through_files(samples: list[Sample]) -> None:
    model, batch = tiny_model("maps=[change]"), collate(inference=True)([(s, 0) for s in samples[:13]])
    codec = collate().codec
    given = answer_batch(model, codec, batch, beams=1, max_new=2)
    maps = [p.change_map for p in given]
    assert all(m is maps[0] for m in maps[:12]) and maps[12] is not maps[0]
    evidence = model.see(batch).maps["change"].evidence
    large = torch.nn.functional.interpolate(evidence.logits[:1], size=(32, 32), mode="bilinear")
    np.testing.assert_array_equal(maps[0], large[0].argmax(0).numpy())
    assert maps[0].dtype == np.uint8
    back = from_row(json.loads(to_line(given[0], samples[0])))
    assert back.change_map is not None and back.change_map.dtype == np.uint8
    np.testing.assert_array_equal(back.change_map, maps[0])
    assert tiny_config("maps=[change]")["maps"]["change"]["_target_"]
    plain = answer_batch(tiny_model(), codec, batch, beams=1, max_new=2)
    assert all(p.change_map is None for p in plain)


def answered(samples: list[Sample], maps: dict[int, np.ndarray], **texts: str) -> list[Prediction]:
    return [
        Prediction(id=s.id, task=s.task, text=texts.get(s.meta["asks"], s.responses[0]), change_map=maps[i // 12])
        for i, s in enumerate(samples)
    ]


def numbers(metric: Metric, predictions: list[Prediction], samples: list[Sample]) -> dict[str, float]:
    tally = metric.tally(list(zip(samples, predictions, strict=True)))
    assert tally is not None
    return tally.values()


def test_overlap_of_maps_counts_each_pair_once(samples: list[Sample]) -> None:
    true = {i: np.array(samples[12 * i].class_map) for i in range(PAIRS)}
    metric = ChangeMapOverlap()
    perfect = numbers(metric, answered(samples, true), samples)
    assert perfect["n"] == PAIRS
    assert {k: perfect[k] for k in ("iou", "f1", "miou", "kind")} == dict.fromkeys(("iou", "f1", "miou", "kind"), 1)
    assert perfect["false_alarm"] == 0
    said = {i: np.full_like(m, 1) for i, m in true.items()}
    found = numbers(metric, answered(samples, said), samples)
    share = sum((m > 0).sum() for m in true.values()) / sum(m.size for m in true.values())
    assert found["iou"] == pytest.approx(share) == found["precision"]
    assert found["recall"] == 1 and found["false_alarm"] == 1
    unknown = [replace(s, class_map=np.full((32, 32), 255, np.uint8)) for s in samples[:12]]
    nothing = numbers(metric, answered(unknown, said), unknown)
    # no pixel is known: there is nothing to find, and nothing that was found counts
    assert all(np.isnan(nothing[k]) for k in ("iou", "recall", "precision")) and nothing["false_alarm"] == 0
    assert (
        metric.tally([(replace(s, class_map=None), p) for s, p in zip(samples, answered(samples, true), strict=True)])
        is None
    )


def test_words_that_say_what_the_map_shows_agree(samples: list[Sample]) -> None:
    true = {i: np.array(samples[12 * i].class_map) for i in range(PAIRS)}
    metric = ChangeAgreement(min_pixels=1)
    right = numbers(metric, answered(samples, true), samples)
    assert right["presence"] == 1 and right["cells_f1"] == 1 == right["reference_cells_f1"]
    assert right["counts"] == right["reference_counts"] and right["counts_mae"] == right["reference_counts_mae"]
    nothing = {i: np.zeros_like(m) for i, m in true.items()}
    found = numbers(metric, answered(samples, nothing), samples)
    unchanged = np.mean([not m.any() for m in true.values()])
    assert found["presence"] == pytest.approx(unchanged) and found["reference_presence"] == 1
    assert found["cells_f1"] == 0 if any(np.isin(m, (1, 2)).any() for m in true.values()) else 1
    none = numbers(metric, answered(samples, true, presence="perhaps", count="some", location="here"), samples)
    assert none["presence"] == none["counts"] == none["cells_f1"] == 0 and none["counts_mae"] >= 1
    assert none["reference_presence"] == 1
    tally = metric.tally(list(zip(samples, answered(samples, true), strict=True)))
    assert tally is not None
    results = tally_results("agreement", metric, tally, protocol_prefix="", split="t", draws=50)
    by_name = {r.metric: r for r in results}
    assert by_name["agreement/presence"].value == 100 and by_name["agreement/presence"].low is not None
    assert by_name["agreement/counts_mae"].lower_is_better
