"""Streams: which batch holds what depends on the seed alone, over folders and http; the bad is set apart."""

from __future__ import annotations

import gc
import itertools
import json
import multiprocessing
import os
import signal
import time
import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import codecs
from support.servers import Handler
from support.shard_data import Listed, picture, sample, shards_of, toy, value_of
from torch.utils.data import DataLoader

from rsmoe.data.collate import Collate
from rsmoe.data.files import http_ranges
from rsmoe.data.files.byte_ranges import read_range
from rsmoe.data.rasters.images import load_image
from rsmoe.data.shards import sample_codec
from rsmoe.data.shards.dataset import ShardDataset
from rsmoe.data.shards.index import Shards, open_shards
from rsmoe.data.shards.member import Form, ShardMember, encode_array
from rsmoe.data.shards.order import StreamOrder
from rsmoe.data.shards.quarantine import Quarantine
from rsmoe.data.shards.sample_codec import PIXELS
from rsmoe.data.shards.stream import Stream
from rsmoe.data.shards.window import EncodedBytes
from rsmoe.errors import UserError

Ids = list[list[tuple[str, int]]]


def ids(stream: Stream, workers: int = 0) -> Ids:
    iterator = iter(DataLoader(stream, batch_size=None, collate_fn=_ids, num_workers=workers))
    try:
        return list(iterator)
    finally:
        if workers:
            iterator._shutdown_workers()  # type: ignore[attr-defined]  # after an error, gc would wait for each 5 s


def _ids(pairs: list[Any]) -> list[tuple[str, int]]:
    return [(f"{s.source}/{s.id}", seed) for s, seed in pairs]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Shards]:
    """47 samples in 10 shards, and 8 in 2."""
    root = tmp_path_factory.mktemp("two")
    return {name: shards_of(toy(root, n, name=name), root / name) for name, n in (("many", 47), ("few", 8))}


# --- order ---


@settings(max_examples=60, deadline=None)
@given(
    shards=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    world=st.integers(1, 4),
    lanes=st.integers(1, 5),
    batch_size=st.integers(1, 6),
    buffer=st.integers(1, 60),
)
def test_all_lanes_of_all_ranks_together_go_through_the_epochs(
    shards: list[int], world: int, lanes: int, batch_size: int, buffer: int
) -> None:
    """For any shards and ranks: nothing is left out and nothing comes twice, and each rank gives what is asked."""
    options = {"sizes": [shards], "weights": [1.0], "batch_size": batch_size, "seed": (3,)}
    orders = [
        StreamOrder(**options, buffer=buffer, lanes=lanes, rank=rank, world=world)  # type: ignore[arg-type]
        for rank in range(world)
    ]
    size = orders[0].window_sizes[0]
    assert size <= max(1, min(buffer, sum(shards)))
    steps = lanes * size * (1 + sum(shards) // (lanes * size * world * batch_size))  # whole windows on every lane
    seen: Counter[tuple[int, int, int]] = Counter()
    for order in orders:
        for step in range(steps):
            draws = order.batch(step)
            assert len(draws) == batch_size
            for draw in draws:
                units = [
                    (run.epoch, run.shard, unit)
                    for run in order.runs(0, draw.window)
                    for unit in range(run.first, run.first + run.count)
                ]
                assert len(units) == size
                seen[units[order.shuffled(0, draw.window)[draw.turn]]] += 1
    total = steps * batch_size * world
    assert set(seen.values()) == {1} and len(seen) == total
    epochs = Counter(epoch for epoch, _, _ in seen)
    assert all(epochs[epoch] == sum(shards) for epoch in range(total // sum(shards)))
    assert all(unit < shards[shard] for _, shard, unit in seen)


def test_epochs_differ_and_so_do_seeds(two: dict[str, Shards]) -> None:
    stream = partial(Stream, shards={"many": two["many"]}, batch_size=47, steps=3, lanes=1, buffer=100)
    first, second, third = ids(stream())
    assert sorted(n for n, _ in first) == sorted(n for n, _ in second) == sorted({n for n, _ in third})
    assert [n for n, _ in first] != [n for n, _ in second]
    assert ids(stream(seed=1)) != ids(stream()) == ids(stream(seed=(0,)))
    assert len({seed for batch in ids(stream()) for _, seed in batch}) == 3 * 47
    order = [int(n[9:].partition(".")[0]) for n, _ in first]
    assert sum(abs(a - b) == 1 for a, b in itertools.pairwise(order)) < 10


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize(("rank", "world"), [(0, 1), (1, 2)])
def test_batches_do_not_depend_on_the_workers(two: dict[str, Shards], workers: int, rank: int, world: int) -> None:
    stream = Stream(shards=two, batch_size=3, steps=11, buffer=16, rank=rank, world=world)
    assert ids(stream, workers) == ids(stream, 0)


def test_fewer_shards_than_workers_and_than_ranks(tmp_path: Path) -> None:
    shards = {"toy": shards_of(toy(tmp_path, 5), tmp_path / "out")}
    assert len(shards["toy"].shards) == 1
    for workers in (0, 3):
        batches = [ids(Stream(shards=shards, batch_size=2, steps=5, rank=r, world=3), workers) for r in range(3)]
        assert [[len(b) for b in rank] for rank in batches] == [[2] * 5] * 3
    seen = Counter(name for rank in batches for batch in rank for name, _ in batch)
    assert len(seen) == 5


@pytest.mark.parametrize(
    ("workers", "world", "per_view"), [(0, 1, 1), (0, 2, 1), (0, 2, 3), (4, 1, 1), (4, 2, 1), (4, 1, 3)]
)
def test_a_stream_that_is_continued_gives_what_it_would_have_given(
    two: dict[str, Shards], workers: int, world: int, per_view: int
) -> None:
    stream = partial(
        Stream, shards=two, batch_size=3, steps=16, buffer=16, weights={"many": 2, "few": 1}, per_view=per_view
    )
    for rank in range(world):
        whole = ids(stream(rank=rank, world=world), 0)
        for start in (7,) if workers else (0, 1, 6, 7, 15, 16):
            assert ids(stream(rank=rank, world=world, start_step=start), workers) == whole[start:]


def _consume(stream: Stream, out: Path) -> None:
    """Writes the ids of each batch, and is slow, so that it is killed in between."""
    os.setsid()
    with out.open("a") as file:
        for batch in DataLoader(stream, batch_size=None, collate_fn=_ids, num_workers=2):
            file.write(json.dumps(batch) + "\n")
            file.flush()
            time.sleep(0.01)


def test_a_killed_process_and_its_successor_give_the_same_ids(two: dict[str, Shards], tmp_path: Path) -> None:
    stream = partial(Stream, shards=two, batch_size=2, steps=40, buffer=16)
    log = tmp_path / "ids.jsonl"
    process = multiprocessing.get_context("fork").Process(target=_consume, args=(stream(), log))
    process.start()
    deadline = time.monotonic() + 20
    while (not log.exists() or log.read_text().count("\n") < 5) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    lines = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    done: Ids = [[(name, seed) for name, seed in json.loads(line)] for line in lines]
    assert 5 <= len(done) < 40
    assert done + ids(stream(start_step=len(done)), 4) == ids(stream())


# --- mixtures and views ---


def shares(batches: Ids) -> dict[str, float]:
    counts = Counter(name.partition("/")[0] for batch in batches for name, _ in batch)
    return {name: count / counts.total() for name, count in counts.items()}


def test_shares(two: dict[str, Shards]) -> None:
    stream = partial(Stream, shards=two, batch_size=20, steps=50, lanes=1, check=False)
    assert shares(ids(stream(weights={"many": 1, "few": 3}))) == {"many": 0.25, "few": 0.75}
    assert shares(ids(stream(weights={"few": 1}))) == {"few": 1.0}
    assert shares(ids(stream())) == pytest.approx({"many": 47 / 55, "few": 8 / 55}, abs=1e-3)
    root = 47**0.5 / (47**0.5 + 8**0.5)
    assert shares(ids(stream(temperature=2))) == pytest.approx({"many": root, "few": 1 - root}, abs=1e-3)
    assert shares(ids(stream(temperature=1e9)))["few"] == pytest.approx(0.5, abs=1e-3)
    assert shares(ids(stream(lanes=2, steps=100, weights={"many": 1, "few": 1})))["few"] == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"mani": 1}}, r"unknown data set 'mani'\. Did you mean 'many'"),
        ({"weights": {"many": 1}, "temperature": 2.0}, "not both"),
        ({"weights": {"many": -1}}, "expected one number >= 0"),
        ({"temperature": 0.0}, "temperature > 0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"lanes": 0}, "lanes=0"),
        ({"rank": 2}, "rank=2"),
        ({"start_step": 9}, "start_step=9"),
        ({"max_bad_fraction": 2.0}, "share from 0 to 1"),
    ],
)
def test_options_out_of_range_are_refused(two: dict[str, Shards], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Stream(**{"shards": two, "batch_size": 2, "steps": 5} | options)  # type: ignore[arg-type]


def test_requests_on_one_view_come_together_and_in_turn(tmp_path: Path) -> None:
    data = toy(tmp_path, 6, questions=5)
    data.samples = [s for s in data.samples if not s.id.startswith("toy5") or s.id == "toy5.0"]
    shards = {"toy": shards_of(data, tmp_path / "out", shard_size=4)}
    stream = Stream(shards=shards, batch_size=6, steps=4, per_view=3, lanes=1)
    visits: dict[str, list[list[str]]] = {}
    for pairs in stream:
        draws: dict[int, list[Any]] = {}
        for one, seed in pairs:
            draws.setdefault(seed, []).append(one)
        assert len(draws) == 6
        for samples in draws.values():
            view = samples[0].id[:4]
            assert all(s.id[:4] == view and s.images[0] is samples[0].images[0] for s in samples)
            visits.setdefault(view, []).append([s.id for s in samples])
    assert visits.pop("toy5") == [["toy5.0"] * 2] * 4  # asked again, once for its other reference
    assert len(visits) == 5
    for view, turns in visits.items():
        assert [len(set(turn)) for turn in turns] == [3] * 4
        assert {i for turn in turns[:2] for i in turn} == {f"{view}.{q}" for q in range(5)}


@pytest.mark.parametrize("pixels", PIXELS)
def test_batches_of_tensors_are_the_same_with_workers(tmp_path: Path, pixels: str) -> None:
    encoded, shards = (
        {"toy": shards_of(toy(tmp_path, 9, questions=2), tmp_path / p, pixels=p)} for p in ("encoded", pixels)
    )
    codec, words = codecs("expert=[theme]")
    collate = Collate(codec=codec, instruction_codec=words, image_size=16, mean=[0.5] * 3, std=[0.2] * 3, augment=True)
    one, other = (
        list(
            DataLoader(
                Stream(shards=kept, batch_size=4, steps=5, per_view=2),
                batch_size=None,
                collate_fn=collate,
                num_workers=w,
            )
        )
        for kept, w in ((encoded, 0), (shards, 2))
    )
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.pixels, b.pixels) and torch.equal(a.response_ids, b.response_ids)
        assert len(a.pixels) == 4 < len(a)
        s = b.samples[0]  # of another process: without its bytes, but it knows where they are
        assert value_of(load_image(s.images[0])) == int(s.id[3])


# --- memory ---


def test_what_is_held_is_undecoded_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = {"toy": shards_of(toy(tmp_path, 40, questions=3), tmp_path / "out", shard_size=8)}
    decoded: Counter[str] = Counter()
    read = ShardMember.read

    def counted(self: ShardMember) -> np.ndarray:
        decoded[self.key] += self._decoded is None
        return read(self)

    monkeypatch.setattr(ShardMember, "read", counted)
    stream = Stream(shards=shards, batch_size=6, steps=60, buffer=24, lanes=2)
    members: dict[int, ShardMember] = {}
    for pairs in stream:
        assert sum(m._decoded is not None for m in members.values()) == 0  # of the batches before
        members |= {id(m): m for s, _ in pairs for m in s.images if isinstance(m, ShardMember)}
        for s, _ in pairs[1:]:
            assert value_of(load_image(s.images[0])) == int(s.id[3:].partition(".")[0])
    # all but the first of a batch are read, at most once each time it was drawn; the test of a picture is one of them
    assert len(decoded) == 40 and sum(decoded.values()) <= 6 * 60 + 40
    assert [stream.order.window_sizes, stream.order.lanes] == [[12], 2]


# --- bad ---


def bad_shards(root: Path) -> Shards:
    data = toy(root, 20)
    (root / "toy-3.png").write_bytes(b"not a picture")
    return shards_of(data, root / "out", check=False)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_sample_is_set_apart_and_another_takes_its_place(tmp_path: Path, workers: int) -> None:
    shards = {"toy": bad_shards(tmp_path)}
    log = tmp_path / "run/quarantine.jsonl"
    stream = partial(Stream, shards=shards, batch_size=4, steps=20, lanes=2, quarantine=log)
    first = stream()
    whole = ids(first, workers)
    assert [len(b) for b in whole] == [4] * 20 and "toy/toy3.0" not in {n for b in whole for n, _ in b}
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(rows) == 4 and {row["id"] for row in rows} == {"toy3.0"}  # once an epoch
    assert all("is not a picture" in row["reason"] and row["shard"].endswith(".tar") for row in rows)
    if workers == 0:
        assert (first.quarantine.bad, first.quarantine.drawn) == (4, 80) and first.quarantine.rows == rows
    assert ids(stream(start_step=7), 0) == whole[7:]


def test_raw_pixels_that_are_not_whole_are_set_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(array: np.ndarray, form: Form) -> bytes:
        content = encode_array(array, form)
        return content[:-9] if value_of(array) == 3 else content

    monkeypatch.setattr(sample_codec, "encode_array", cut)
    shards = {"toy": shards_of(toy(tmp_path, 20), tmp_path / "out", pixels="raw")}
    shards["toy"].verify()  # as somebody else's tool may have written it
    stream = Stream(shards=shards, batch_size=4, steps=20)
    assert "toy/toy3.0" not in {name for names in ids(stream) for name, _ in names}
    assert stream.quarantine.bad == 4
    (reason,) = {row["reason"] for row in stream.quarantine.rows}
    assert "toy3.0, file 0.npy of" in reason and "is truncated or damaged: 279 bytes for 3 bands of 12 x 8" in reason
    data = ShardDataset(root=str(tmp_path / "out"), split="train")
    with pytest.raises(UserError, match="truncated or damaged"):
        [load_image(s.images[0]) for s in data]


def test_a_damaged_shard_is_named_and_the_limit_stops_the_run(tmp_path: Path) -> None:
    shards = {"toy": shards_of(toy(tmp_path, 20), tmp_path / "out")}
    path = Path(shards["toy"].path(2))
    content = bytearray(path.read_bytes())
    content[600] ^= 4  # in the json of the first view
    path.write_bytes(content)
    stream = Stream(shards=shards, batch_size=4, steps=20)
    assert len(ids(stream)) == 20
    assert dict(stream.quarantine.shards) == {str(path): 4}
    assert "is damaged at view 0" in stream.quarantine.rows[0]["reason"]
    path.write_bytes(content[:1024])  # cut off: five of twenty are bad
    with pytest.raises(
        UserError, match=r"11 of \d+ samples cannot be read, in .*train-00002\.tar \(11\).*max_bad_frac"
    ):
        ids(Stream(shards=shards, batch_size=4, steps=2000))
    with pytest.raises(UserError, match=r"1 of \d+ samples .*train-00002\.tar"):
        ids(Stream(shards=shards, batch_size=4, steps=20, max_bad_fraction=0), 2)
    for place in range(4):
        Path(shards["toy"].path(place)).write_bytes(b"")
    with pytest.raises(UserError, match="no sample of 5 windows of 5 can be read"):
        ids(Stream(shards=shards, batch_size=4, steps=20, max_bad_fraction=1))
    path.unlink()
    with pytest.raises(UserError, match=r"train-00002\.tar cannot be read \(No such file"):
        ids(Stream(shards=shards, batch_size=4, steps=20, max_bad_fraction=1))


def test_the_limit_is_a_share_of_a_thousand_at_least() -> None:
    bad = {"source": "toy", "identity": "a", "shard": "b.tar", "reason": "c"}
    quarantine = Quarantine(max_bad_fraction=0.002)
    quarantine.add(**bad)
    quarantine.add(**bad)
    with pytest.raises(UserError, match=r"3 of 3 samples cannot be read, in b\.tar \(3\); the last: c"):
        quarantine.add(**bad)
    quarantine = Quarantine(max_bad_fraction=0.002)
    quarantine.good(9990)
    for _ in range(20):
        quarantine.add(**bad)
    assert quarantine.drawn == 10010
    with pytest.raises(UserError, match="max_bad_fraction=0.002"):
        quarantine.add(**bad)


# --- http ---


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("workers", [0, 2])
def test_http_gives_what_the_folder_gives(
    tmp_path: Path, serve: Callable[..., tuple[str, type[Handler]]], ranges: bool, workers: int
) -> None:
    local = shards_of(toy(tmp_path, 23, questions=2), tmp_path / "out")
    url, handler = serve(tmp_path, ranges=ranges)
    remote = open_shards(f"{url}/out/", "train")
    remote.verify()
    options = {"batch_size": 3, "steps": 12, "buffer": 20, "per_view": 2}
    there, here = (Stream(shards={"toy": s}, **options) for s in (remote, local))  # type: ignore[arg-type]
    handler.asked.clear()
    assert ids(there, workers) == ids(here)
    if workers == 0:
        tars = [path for path, _ in handler.asked if path.endswith(".tar")]
        assert len(tars) <= 20  # long runs, not a request a sample
    data = ShardDataset(root=f"{url}/out", split="train")
    assert value_of(load_image(data[7].images[0])) == int(data[7].id[3:].partition(".")[0])


def test_a_connection_that_breaks_is_taken_up(tmp_path: Path, serve: Callable[..., tuple[str, type[Handler]]]) -> None:
    shards = shards_of(toy(tmp_path, 12), tmp_path / "out")
    content = Path(shards.path(0)).read_bytes()
    for ranges in (True, False):
        url, handler = serve(tmp_path / "out", ranges=ranges, faults=[1, 503, 1])
        assert read_range(f"{url}/train-00000.tar", 7000, 2000) == content[7000:9000]
        asked = [asked for _, asked in handler.asked]
        if ranges:
            assert asked == ["bytes=7000-8999", "bytes=8000-8999", "bytes=8000-8999", "bytes=8500-8999"]
        else:  # the half of the file that it gives ends before what is asked for
            assert asked == ["bytes=7000-8999"] * 4
        assert read_range(f"{url}/train-00000.tar", len(content) - 5, 50) == content[-5:]
        assert read_range(f"{url}/train-00000.tar", len(content) + 5, 50) == b""


def test_an_answer_that_was_cut_off_is_asked_for_again(
    tmp_path: Path, serve: Callable[..., tuple[str, type[Handler]]]
) -> None:
    local = shards_of(toy(tmp_path, 12), tmp_path / "out")
    url, handler = serve(tmp_path / "out", ranges=False, cut=1)
    remote = open_shards(url, "train")
    handler.ranges = True
    for faults in ([2], [2, 503, 2]):
        handler.faults[:] = faults
        options = {"batch_size": 2, "steps": 9, "max_bad_fraction": 0.0}
        assert ids(Stream(shards={"toy": remote}, **options)) == ids(Stream(shards={"toy": local}, **options))
    handler.ranges, handler.cut = False, 9
    with pytest.raises(UserError, match=r"train\.json is not json"):
        open_shards(url, "train")


@pytest.mark.parametrize("drips", ["headers", "body"])
def test_a_server_that_drips_is_not_waited_for(
    tmp_path: Path, serve: Callable[..., tuple[str, type[Handler]]], monkeypatch: pytest.MonkeyPatch, drips: str
) -> None:
    shards_of(toy(tmp_path, 2), tmp_path / "out")
    monkeypatch.setattr(http_ranges, "PATIENCE_S", 0.2)
    url, handler = serve(tmp_path / "out", drips=drips)
    began = time.monotonic()
    with pytest.raises(UserError, match=r"train\.json cannot be read: .*less than 1000 bytes a second for 0\.2 s"):
        open_shards(url, "train")
    assert time.monotonic() - began < 3
    assert len(handler.asked) == 2


def test_an_address_that_stays_away_is_named_and_nothing_is_skipped(
    tmp_path: Path, serve: Callable[..., tuple[str, type[Handler]]]
) -> None:
    shards_of(toy(tmp_path, 12), tmp_path / "out")
    url, handler = serve(tmp_path / "out")
    with pytest.raises(UserError, match=r"val\.json cannot be read: HTTP Error 404"):
        open_shards(url, "val")
    shards = {"toy": open_shards(url, "train")}
    handler.faults[:] = [503] * 100
    with pytest.raises(UserError, match=r"train-0000\d\.tar cannot be read: HTTP Error 503.*then continue"):
        ids(Stream(shards=shards, batch_size=2, steps=9, max_bad_fraction=1))
    assert len([path for path, _ in handler.asked if path.endswith("tar")]) >= 4
    (tmp_path / "out/train-00001.tar").write_bytes((tmp_path / "out/train-00001.tar").read_bytes()[:-3000])
    handler.faults.clear()
    with pytest.raises(UserError, match=r"1 of \d+ samples cannot be read.*train-00001\.tar is damaged at view"):
        ids(Stream(shards=shards, batch_size=2, steps=9, max_bad_fraction=0))


def test_an_address_that_leads_to_a_file_is_not_followed(
    tmp_path: Path, serve: Callable[..., tuple[str, type[Handler]]]
) -> None:
    picture(tmp_path / "secret.png", 1)

    def redirect(self: Any) -> None:
        self.send_response(302)
        self.send_header("Location", f"file://{tmp_path}/secret.png")
        self.end_headers()

    url, _ = serve(tmp_path, do_GET=redirect)
    with pytest.raises(UserError, match="cannot be read"):
        read_range(f"{url}/a.tar", 0, 10)


def test_an_empty_listing_of_ids_would_be_noticed(tmp_path: Path) -> None:
    """The ids that the tests above compare are those of the pictures."""
    data = Listed([sample(f"{i}", picture(tmp_path / f"{i}.png", i)) for i in range(300)])
    shards = {"toy": shards_of(data, tmp_path / "out", shard_size=100)}
    for pairs in Stream(shards=shards, batch_size=10, steps=5):
        assert all(value_of(load_image(s.images[0])) == int(s.id) for s, _ in pairs)


def test_memory_stays_flat_over_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = {"toy": shards_of(toy(tmp_path, 60), tmp_path / "out", shard_size=20)}
    views: weakref.WeakSet[EncodedBytes] = weakref.WeakSet()
    files: weakref.WeakSet[ShardMember] = weakref.WeakSet()
    for kind, alive in ((EncodedBytes, views), (ShardMember, files)):
        monkeypatch.setattr(kind, "__init__", partialmethod(_remembered, made=kind.__init__, alive=alive))
    for step, pairs in enumerate(Stream(shards=shards, batch_size=6, steps=100, buffer=24), start=1):
        assert all(load_image(s.images[0]).any() for s, _ in pairs)
        if step % 10 == 0:  # an epoch
            gc.collect()
            # a window of six for each of four lanes, as many on their way, and the batch
            assert len(files) <= len(views) + 6 and 24 <= len(views) <= 48


def _remembered(self: Any, *, made: Callable[..., None], alive: weakref.WeakSet[Any], **given: Any) -> None:
    made(self, **given)
    alive.add(self)
