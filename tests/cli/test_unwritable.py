"""Places that cannot be written are refused before the work, by the key to change; nothing half-written is left."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from support.replies import reply

import rsmoe
import rsmoe.predict
from rsmoe import files
from rsmoe.errors import UserError
from rsmoe.evaluation.change_report import report_change
from rsmoe.evaluation.reply import Reply
from rsmoe.evaluation.reply_files import write_mask, write_mask_picture
from rsmoe.files import CACHE_KEY, cache_folder, part_of, require_writable, whole_file, write_text
from rsmoe.geo.dates import Dates
from rsmoe.scenes import generated
from rsmoe.scenes.pair_store import PairStore


def test_a_file_where_a_folder_is_wanted_and_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    for path in ("file", "file/deep/er", "gone/x"):
        with pytest.raises(UserError, match=rf"cannot write .*{path}: .* expected a folder. Give another place: out="):
            require_writable(tmp_path / path, "out=")
    with pytest.raises(UserError, match=r"it is a folder, expected the name of a file. Give another place: out="):
        require_writable(tmp_path / "folder", "out=", folder=False)
    with pytest.raises(UserError, match="cannot write .*too long"):
        require_writable(tmp_path / ("x" * 300), "out=")
    for path, folder in (("new/er", True), ("new/a.png", False), ("file", False), ("folder", True)):
        require_writable(tmp_path / path, "out=", folder=folder)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder", "gone"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_folders_of_somebody_else_read_only_or_full_disks(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: Any) -> Any:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(UserError, match=rf"cannot write .*: {os.strerror(code)}. Give another place: out="):
        require_writable(tmp_path / "out", "out=")


def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old")
    with pytest.raises(UserError, match=r"cannot write .*a.json: No space"), whole_file(path) as part:
        part.write_text("ha")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"] and path.read_text() == "old"


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        return process.pid


def test_leftovers_of_dead_processes_are_removed_and_others_kept(tmp_path: Path) -> None:
    own = part_of(tmp_path / "release")
    host = own.name.removeprefix(".release.").rpartition("-")[0]
    dead = tmp_path / f".release.{host}-{dead_process()}.part"
    alive = tmp_path / f".release.{host}-{os.getppid()}.part"
    elsewhere, old = tmp_path / ".release.another-1.part", tmp_path / ".release.7.part"  # as names were before
    for folder in (dead, alive, elsewhere, old):
        (folder / "images").mkdir(parents=True)
    for place in (old / "images", old):
        os.utime(place, (0, 0))
    part_of(tmp_path / "release")
    assert {p.name for p in tmp_path.iterdir()} == {alive.name, elsewhere.name}


def test_the_cache_of_generated_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RSMOE_CACHE", str(tmp_path / "file" / "cache"))
    for make in (
        lambda: generated.rsicap(split="train", scenes={"train": 2}),
        lambda: generated.rsieval(split="test", scenes={"test": 2}),
        lambda: PairStore(split="train", size_px=32),
    ):
        with pytest.raises(UserError, match=r"cannot write .*file is not a folder.*export RSMOE_CACHE="):
            make()
    monkeypatch.delenv("RSMOE_CACHE")

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(UserError, match="no home folder .*export RSMOE_CACHE="):
        cache_folder()


def test_a_whole_cache_may_be_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSMOE_CACHE", str(tmp_path))
    first = generated.rsicap(split="train", scenes={"train": 2}, size_px=64)

    def refused(path: Path, key: str, **_: Any) -> None:
        raise UserError(f"{path} {key}")

    monkeypatch.setattr(generated, "require_writable", refused)
    assert len(generated.rsicap(split="train", scenes={"train": 2}, size_px=64)) == len(first)
    with pytest.raises(UserError, match="RSMOE_CACHE"):
        generated.rsicap(split="train", scenes={"train": 3}, size_px=64)
    assert CACHE_KEY.startswith("export RSMOE_CACHE=")


def run(module: Any, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["command", *words])
    with pytest.raises(SystemExit) as stop:
        module.cli()
    return str(stop.value.code) + capsys.readouterr().err


def test_commands_ask_before_they_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing else that these words name is there: who read first would say so."""
    from rsmoe.commands import change_detection, inspect, overlap, shard, swap

    monkeypatch.setattr(logging, "raiseExceptions", False)  # of handlers whose stream an earlier test has closed
    (tmp_path / "file").write_text("")
    out = f"out={tmp_path}/file/x"
    data = ["data=ucm_captions", f"data.root={tmp_path}/none"]
    commands: list[tuple[Any, list[str]]] = [
        (rsmoe.predict, [f"checkpoint={tmp_path}/none", "image=none.png"]),
        (inspect, data),
        (shard, data),
        (overlap, ["train=[ucm_captions]", "test=[ucm_captions]", f"data.root={tmp_path}/none"]),
        (swap, [f"checkpoint={tmp_path}/none"]),
        (change_detection, ["data=levir_cd", f"data.root={tmp_path}/none"]),
    ]
    for module, words in commands:
        said = run(module, [*words, out], monkeypatch, capsys)
        assert "error: out=" in said and "cannot write" in said and "is not a folder" in said, (module, said)
        assert "Traceback" not in said


def answer(*, times: int = 1, **more: Any) -> Reply:
    picture = np.zeros((8, 8, 3), np.uint8)
    dates = Dates(
        images=(picture,) * times, valid=np.ones((8, 8), bool), georeference=None, notes=("bands: the first 3",)
    )
    said = {"text": "two", "instruction": "how many ?", "routing": {"vqa": 1.0}, "prompts": {"vqa": "~a"}}
    return reply(dates, **said, **more)


def answering(given: Reply, monkeypatch: pytest.MonkeyPatch) -> None:
    """``rsmoe.load`` gives a model that answers this."""
    run = SimpleNamespace(change_classes=())
    model = SimpleNamespace(answer=lambda requests, **_: [given], run=run, cover_classes=())
    monkeypatch.setattr(rsmoe, "load", lambda path, **_: model)


KEYS = {
    "id", "checkpoint", "checkpoint_sha256", "rsmoe", "images", "instruction", "text", "answer", "weights", "routing",
    "confidence", "prompts", "size_px", "crs", "transform", "gsd_m", "mask", "boxes_px", "land_cover", "changed",
    "cells", "kinds", "polygons", "files", "notes", "decoding", "sources",
}  # fmt: skip


@pytest.mark.parametrize("mask", [False, True])
def test_a_folder_gets_an_answer_of_any_kind(
    mask: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = answer(mask=np.eye(8, dtype=bool) if mask else None)
    answering(given, monkeypatch)
    for name in ("a.png", "run.ckpt"):
        (tmp_path / name).write_bytes(b"x")
    out = tmp_path / "out.v2"  # a folder, whatever its name looks like
    words = [f"checkpoint={tmp_path / 'run.ckpt'}", f"image={tmp_path / 'a.png'}", f"out={out}"]
    monkeypatch.setattr(sys, "argv", ["predict", *words])
    rsmoe.predict.cli()
    assert "bands: the first 3" in capsys.readouterr().out
    told = json.loads((out / "answer.json").read_text())
    assert set(told) == KEYS and told["text"] == "two" and told["instruction"] == "how many ?"
    assert told["mask"] == ("mask.tif" if mask else None) and told["crs"] is None and told["size_px"] == [8, 8]
    assert {p.name for p in out.iterdir()} == {"answer.json", "answers.jsonl"} | (
        {"mask.tif", "mask.tif.aux.xml", "mask.qml", "mask_px.geojson", "mask_px.qml"} if mask else set()
    )


def test_a_picture_for_a_mask_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(answer(), monkeypatch)
    (tmp_path / "a.png").write_bytes(b"x")
    words = ["checkpoint=run", f"image={tmp_path / 'a.png'}", f"out={tmp_path / 'mask.png'}"]
    monkeypatch.setattr(sys, "argv", ["predict", *words])
    rsmoe.predict.cli()
    assert "the answer holds no mask" in capsys.readouterr().out and not (tmp_path / "mask.png").exists()


def test_reports_into_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    change = SimpleNamespace(kinds=np.zeros((8, 8), np.uint8), tiles=1, tile_px=8)
    given = answer(times=2, mask=np.ones((8, 8), bool), change=change)
    quiet = Console(quiet=True)
    for write in (
        lambda: report_change(given, ["a", "b"], tmp_path / "file" / "map", [], quiet),
        lambda: write_mask(given, tmp_path / "file" / "map"),
        lambda: write_mask_picture(given, tmp_path / "file" / "mask.png"),
    ):
        with pytest.raises(UserError, match="cannot make the folder"):
            write()
    write_mask_picture(given, tmp_path / "new" / "mask.png")
    assert np.asarray(Image.open(tmp_path / "new" / "mask.png")).all()
    assert files.part_of(tmp_path / "a.png").suffix == ".png"
