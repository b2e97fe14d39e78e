"""Broken files to every command: one line that names the file, or the right answer; no traceback, no hang."""

from __future__ import annotations

import faulthandler
import json
import os
import shutil
import signal
import socket
import struct
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import formats
from support.banks import make, saved
from support.checkpoints import CALM, tiny_run
from support.killed_runs import WORDS
from support.releases import RELEASES
from support.reliability import LONG
from support.servers import Handler, serve
from support.shard_data import shards_of, toy

import rsmoe.evaluate
import rsmoe.predict
import rsmoe.score
import rsmoe.train
from rsmoe.commands import inspect, shard
from rsmoe.data.files import http_ranges
from rsmoe.data.shards.index import open_shards
from rsmoe.data.shards.stream import Stream
from rsmoe.errors import UserError

__all__ = ["serve"]
SECONDS = 30
"""Of processor time."""
CLOCK = 300
"""Seconds by the clock, on a machine that is busy with other things."""


@dataclass(frozen=True)
class Case:
    """One input.

    Args:
        expected: "line": it has to be refused; "either": it may be read as well.
        run: gets a copy of `home`, changes it, and runs a command; the words that an error has to hold one of.
    """

    name: str
    run: Callable[[Path], tuple[str, ...]]
    expected: str = "line"


class Hang(BaseException):
    """It took too long; not an `Exception`, so that nothing swallows it."""


@contextmanager
def limited() -> Iterator[None]:
    def heard(number: int, frame: object) -> None:
        raise Hang

    timers = {signal.SIGALRM: (signal.ITIMER_REAL, CLOCK), signal.SIGPROF: (signal.ITIMER_PROF, SECONDS)}
    before = {number: signal.signal(number, heard) for number in timers}
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    faulthandler.dump_traceback_later(
        2 * CLOCK, exit=True, file=sys.__stderr__
    )  # where no signal is heard: within a call of a library
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


# -- what every input starts from --


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, pictures, predictions, shards and releases that are all right."""
    home = tmp_path_factory.mktemp("whole")
    tiny_run(home / "run", *CALM, steps=1)
    path = home / "run/checkpoints/1-learn.ckpt"
    held = torch.load(path, weights_only=True)
    for entry in held["hyper_parameters"]["config"]["corpus"].values():
        for split in entry.get("generated", {}).get("scenes", {}):
            entry["generated"]["scenes"][split] = 4
        if "size" in entry.get("reader", {}):
            entry["reader"]["size"] = 8
    torch.save(held, path)
    for name in ("a", "b"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(
            home / f"{name}.png"
        )
    for name in ("own_jsonl", "own_csv", "own_folder", "own_webdataset", "llava", "nwpu_vhr10"):
        (home / name).mkdir()
        formats.FORMATS[name](home / name)
    RELEASES["ucm_captions"](home)
    rows = [{"id": f"{i}", "references": ["a port", "two ships"]} for i in range(3)]
    (home / "r.json").write_text(json.dumps(rows))
    (home / "p.json").write_text(json.dumps({f"{i}": "a port" for i in range(3)}))
    (home / "p.jsonl").write_text("".join(json.dumps({"id": f"{i}", "text": "a port"}) + "\n" for i in range(3)))
    (home / "p.csv").write_text("id,text\n0,a port\n1,a port\n2,a port\n")
    shards_of(toy(home / "toy", 6), home / "shards")
    saved(home / "adapter")
    return home


def score(home: Path, **files: str) -> None:
    given = {"predictions": "p.json", "references": "r.json"} | files
    rsmoe.score.cli(
        ["protocol=caption/coco-ptb@1", "missing=error", "draws=3", *(f"{k}={home / v}" for k, v in given.items())]
    )


def look(home: Path, name: str) -> None:
    split = formats.SPLITS.get(name, "train")
    inspect.cli([f"data={name}", f"data.root={home / name}", f"split={split}", "sheet=3", f"out={home}/sheet.png"])


def cut_into_shards(home: Path, name: str) -> None:
    words = [f"data={name}", f"data.root={home / name}", f"out={home}/out", "processes=1"]
    shard.cli(words)


def ask(home: Path, image: str = "a.png", checkpoint: str = "run") -> None:
    rsmoe.predict.cli([f"checkpoint={home / checkpoint}", f"image={home / image}", "beams=1", "max_new=2"])


def judge(home: Path, checkpoint: str = "run") -> None:
    rsmoe.evaluate.cli(
        [f"checkpoint={home / checkpoint}", "benchmark=ucm_captions", f"data.root={home}", "beams=1", "max_new=2",
         "draws=2", "limit=2", f"out={home}/judged"]
    )  # fmt: skip


def go_on(home: Path, key: str, checkpoint: str) -> None:
    words = [f"{key}={home / checkpoint}", f"hydra.run.dir={home}/again"]
    rsmoe.train.cli(words if key == "resume" else [*words, *WORDS])


# -- texts --

DEEP = b"[" * 100_000
TEXTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda b: b"",
    "blank": lambda b: b" \n\n ",
    "cut": lambda b: b[: len(b) // 2],
    "NUL": lambda b: b[:9] + b"\x00" + b[9:],
    "latin-1": lambda b: b + b"\xe9",
    "UTF-16 without a mark": lambda b: b.decode().encode("utf-16-le"),
    "a picture": lambda b: b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "gzip": lambda b: b"\x1f\x8b\x08" + zlib.compress(b),
    "a page of a server": lambda b: b"<!DOCTYPE html><html><body>503 Service Unavailable</body></html>",
    "a pointer of LFS": lambda b: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "nested deep": lambda b: DEEP,
    "many digits": lambda b: b'[{"id": ' + b"9" * 10_000 + b"}]\n",
    "half a character": lambda b: b'[{"id": "\\ud800"}]\n',
    "a number": lambda b: b"7\n",
    "a list of lists": lambda b: b"[[[]], [[]]]\n",
    "null": lambda b: b"null\n",
}
THINGS = ("a folder", "a dangling link", "a pipe", "absent")


def replaced(path: Path, thing: str) -> None:
    path.unlink()
    if thing == "a folder":
        path.mkdir()
    elif thing == "a dangling link":
        path.symlink_to(path.parent / "nowhere")
    elif thing == "a pipe":
        os.mkfifo(path)


def spoilt(path: Path, fault: str, faults: dict[str, Callable[[bytes], bytes]]) -> None:
    if fault in THINGS:
        replaced(path, fault)
    else:
        path.write_bytes(faults[fault](path.read_bytes()))


READERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "own_jsonl": ("own_jsonl/train.jsonl", partial(look, name="own_jsonl")),
    "own_csv": ("own_csv/train.csv", partial(look, name="own_csv")),
    "own_folder": ("own_folder/train/port.txt", partial(look, name="own_folder")),
    "ucm_captions": ("ucm_captions/dataset_ucm.json", partial(look, name="ucm_captions")),
    "llava": ("llava/*.json", partial(look, name="llava")),
    "nwpu_vhr10": ("nwpu_vhr10/annotations/instances.json", partial(look, name="nwpu_vhr10")),
    "predictions.json": ("p.json", score),
    "predictions.jsonl": ("p.jsonl", partial(score, predictions="p.jsonl")),
    "predictions.csv": ("p.csv", partial(score, predictions="p.csv")),
    "references.json": ("r.json", score),
    "index of shards": ("shards/train.json", partial(look, name="shards")),
    "config of a run": ("adapter/adapter_config.json", lambda home: make().load_adapter(2, home / "adapter")),
}
PLAIN_TEXT = {
    "own_folder": set(TEXTS) - {"empty", "blank", "latin-1", "NUL", "UTF-16 without a mark", "a picture", "gzip"}
}
"""What is a text where any words are."""


def text_case(reader: str, fault: str) -> Case:
    pattern, read = READERS[reader]

    def run(home: Path) -> tuple[str, ...]:
        (path,) = list(home.glob(pattern))[:1]
        spoilt(path, fault, TEXTS)
        yield_ = (path.name, path.stem, path.parent.name)
        return _then(read, home, yield_)

    return Case(f"{reader}: {fault}", run, "either" if fault in PLAIN_TEXT.get(reader, ()) else "line")


class Named(Exception):
    """An error of a command, with the words one of which it should hold."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(names)
        self.names = names


def _then(read: Callable[[Path], None], home: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    try:
        read(home)
    except (UserError, SystemExit) as error:
        raise Named(names) from error
    return names


# -- pictures --


def png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


PICTURES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda b: b"",
    "cut": lambda b: b[: len(b) // 2],
    "its head": lambda b: b[:20],
    "damaged": lambda b: b[:60] + bytes(20) + b[80:],
    "text": lambda b: b"a picture of a port\n",
    "a page of a server": TEXTS["a page of a server"],
    "a pointer of LFS": TEXTS["a pointer of LFS"],
    "svg": lambda b: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "no pixels": lambda b: png(0, 0),
    "a bomb": lambda b: png(60_000, 60_000),
    "without its pixels": lambda b: png(32, 32),
    "tiff cut": lambda b: b"II*\x00\x08\x00\x00\x00\x02\x00",
    "tiff in a circle": lambda b: b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00",
    "jpeg's head": lambda b: b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01",
    "pdf": lambda b: b"%PDF-1.4\n%%EOF",
}
VIEWERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "predict": ("a.png", ask),
    "predict, two dates": ("b.png", lambda home: rsmoe.predict.cli(
        [f"checkpoint={home}/run", f"image=[{home}/a.png,{home}/b.png]", "beams=1", "max_new=2"])),
    "inspect": ("own_csv/a.png", partial(look, name="own_csv")),
    "shard": ("own_csv/a.png", partial(cut_into_shards, name="own_csv")),
}  # fmt: skip


def picture_case(viewer: str, fault: str) -> Case:
    place, view = VIEWERS[viewer]

    def run(home: Path) -> tuple[str, ...]:
        spoilt(home / place, fault, PICTURES)
        return _then(view, home, (Path(place).name, "not drawn"))

    return Case(f"{viewer}: {fault}", run, "either" if viewer == "inspect" else "line")  # it tells it in its table


# -- checkpoints --


def without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda c: c.pop(key)


def hyper(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda c: c["hyper_parameters"].__setitem__(key, value)


def weight(change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], Any]:
    def changed(c: dict[str, Any]) -> None:
        name = next(n for n, v in c["state_dict"].items() if v.is_floating_point() and v.ndim == 2)
        c["state_dict"][name] = change(c["state_dict"][name])

    return changed


INSIDE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no weights": without("state_dict"),
    "no parameters": without("hyper_parameters"),
    "no step": without("global_step"),
    "a weight is missing": lambda c: c["state_dict"].popitem(),
    "a weight too many": lambda c: c["state_dict"].__setitem__("model.more", torch.zeros(3)),
    "a weight of another shape": weight(lambda v: v[:, :-1].clone()),
    "a weight of another type": weight(lambda v: v.to(torch.complex64)),
    "a weight that is no number": weight(lambda v: v * float("nan")),
    "a weight that is a text": weight(lambda v: "x"),
    "a config of another type": hyper("config", [1]),
    "a config without a part": lambda c: c["hyper_parameters"]["config"].pop("qformer"),
    "a stage of another type": hyper("stage", "first"),
    "a stage that is not there": hyper("stage", 10**6),
    "a codec of another type": hyper("codec", 7),
    "steps below 0": lambda c: c.__setitem__("global_step", -5),
    "steps of a text": lambda c: c.__setitem__("global_step", "many"),
}
FILES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda b: b"",
    "cut": lambda b: b[: len(b) // 2],
    "its end": lambda b: b[len(b) // 2 :],
    "damaged": lambda b: b[: len(b) // 3] + bytes(4000) + b[len(b) // 3 + 4000 :],
    "text": lambda b: b"weights\n",
    "a pointer of LFS": TEXTS["a pointer of LFS"],
    "an old pickle": lambda b: b"\x80\x02}q\x00.",
    "a zip of nothing": lambda b: b"PK\x05\x06" + bytes(18),
}
OPENERS: dict[str, Callable[[Path], None]] = {
    "predict": partial(ask, checkpoint="run/checkpoints/1-learn.ckpt"),
    "evaluate": partial(judge, checkpoint="run/checkpoints/1-learn.ckpt"),
    "resume": partial(go_on, key="resume", checkpoint="run/checkpoints/1-learn.ckpt"),
    "start": partial(go_on, key="start", checkpoint="run/checkpoints/1-learn.ckpt"),
}


def checkpoint_case(opener: str, fault: str) -> Case:
    def run(home: Path) -> tuple[str, ...]:
        path = home / "run/checkpoints/1-learn.ckpt"
        if fault in INSIDE:
            held = torch.load(path, weights_only=True)
            INSIDE[fault](held)
            torch.save(held, path)
        else:
            spoilt(path, fault, FILES)
        return _then(OPENERS[opener], home, ("checkpoint", "1-learn.ckpt", "was not written by rsmoe.train", "config"))

    return Case(f"{opener}: {fault}", run, "either" if fault in READABLE.get(opener, ()) else "line")


START = set(INSIDE) - {
    "no step",
    "a weight is missing",
    "a weight too many",
    "a weight of another shape",
    "a weight of another type",
    "a stage that is not there",
}
"""A new run takes of a checkpoint what fits, and begins to train."""
ASIDE = {"no step", "a stage that is not there"}
READABLE = {"predict": ASIDE, "evaluate": ASIDE}
"""What a command does not need."""

# -- adapters, tars, servers --

WEIGHTS: dict[str, Callable[[bytes], bytes]] = {
    **{name: FILES[name] for name in ("empty", "cut", "its end", "text", "a pointer of LFS")},
    "a header without end": lambda b: struct.pack("<Q", 2**62) + b[8:],
    "a header of another form": lambda b: struct.pack("<Q", 2) + b"[]" + b[8:],
    "nested deep": lambda b: struct.pack("<Q", len(DEEP)) + DEEP,
}


def adapter_case(fault: str) -> Case:
    def run(home: Path) -> tuple[str, ...]:
        spoilt(home / "adapter/adapter_model.safetensors", fault, WEIGHTS)
        return _then(lambda h: make().load_adapter(2, h / "adapter"), home, ("adapter",))

    return Case(f"adapter: {fault}", run)


TARS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda b: b"",
    "cut": lambda b: b[: len(b) // 2],
    "its head": lambda b: b[:300],
    "damaged": lambda b: b[:100] + bytes(100) + b[200:],
    "text": lambda b: b"no tar\n",
    "gzip": lambda b: b"\x1f\x8b\x08" + zlib.compress(b),
    "a page of a server": TEXTS["a page of a server"],
    "zeros": lambda b: bytes(10_240),
}


def tar_case(kind: str, fault: str) -> Case:
    place = {"own_webdataset": "own_webdataset/train/0.tar", "shards": "shards/train-00000.tar"}[kind]

    def read(home: Path) -> None:
        if kind == "own_webdataset":
            look(home, kind)
        else:
            data = {"toy": open_shards(str(home / "shards"), "train")}
            list(Stream(shards=data, batch_size=1, steps=6, buffer=6, lanes=1, max_bad_fraction=0))

    def run(home: Path) -> tuple[str, ...]:
        spoilt(home / place, fault, TARS)
        return _then(read, home, (Path(place).name, Path(place).stem, "*.tar"))

    return Case(f"{kind}: {fault}", run)


LINKS = {"a link out": tarfile.SYMTYPE, "a hard link out": tarfile.LNKTYPE, "a device": tarfile.CHRTYPE,
         "a pipe": tarfile.FIFOTYPE}  # fmt: skip


def member_case(fault: str) -> Case:
    def run(home: Path) -> tuple[str, ...]:
        path = home / "own_webdataset/train/0.tar"
        with tarfile.open(path, "w") as tar:
            info = tarfile.TarInfo("x.jpg")
            info.type, info.linkname = LINKS[fault], "/etc/passwd"
            tar.addfile(info)
        return _then(partial(look, name="own_webdataset"), home, ("0.tar", "own_webdataset"))

    return Case(f"a member of a tar: {fault}", run)


SERVERS: dict[str, dict[str, Any]] = {
    **{f"status {code}": {"faults": [code] * 99} for code in (401, 403, 404, 410, 429, 500, 502, 503)},
    "connections that break": {"faults": [1] * 99},
    "answers that are short": {"faults": [2] * 99},
    "drips its head": {"drips": "headers"},
    "drips its body": {"drips": "body"},
    "an index that is cut": {"cut": 99},
}


def server_case(fault: str, start: Callable[..., tuple[str, type[Handler]]]) -> Case:
    def run(home: Path) -> tuple[str, ...]:
        url, _ = start(home / "shards", **{k: list(v) if isinstance(v, list) else v for k, v in SERVERS[fault].items()})

        def read(home: Path) -> None:
            data = {"toy": open_shards(url, "train")}
            list(Stream(shards=data, batch_size=1, steps=6, buffer=6, lanes=1, max_bad_fraction=0))

        return _then(read, home, (url,))

    return Case(f"server: {fault}", run)


def odd_server_case(fault: str) -> Case:
    answers = {
        "no status": b"hello\r\n\r\n",
        "a status of another form": b"HTTP/9.9 abc\r\n\r\n",
        "hangs up": b"",
        "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"y" * 200_000,
        "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
        "a length below 0": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
        "a circle": b"HTTP/1.1 302 Found\r\nLocation: /train.json\r\nContent-Length: 0\r\n\r\n",
        "chunks that are none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    }

    def run(home: Path) -> tuple[str, ...]:
        import threading

        server = socket.create_server(("127.0.0.1", 0))

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(answers[fault])

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        try:
            return _then(lambda _: open_shards(url, "train"), home, (url,))
        finally:
            server.close()

    return Case(f"server: {fault}", run)


ODD_SERVERS = ("no status", "a status of another form", "hangs up", "headers without end", "a length that is none",
               "a length below 0", "a circle", "chunks that are none")  # fmt: skip
CASES = [
    *(text_case(r, f) for r in READERS for f in (*TEXTS, *THINGS)),
    *(picture_case(v, f) for v in VIEWERS for f in (*PICTURES, *THINGS)),
    *(
        checkpoint_case(o, f)
        for o in OPENERS
        for f in (*FILES, *(f for f in INSIDE if o != "start" or f in START), *THINGS)
    ),
    *(adapter_case(f) for f in (*WEIGHTS, *THINGS)),
    *(tar_case(k, f) for k in ("own_webdataset", "shards") for f in (*TARS, *THINGS)),
    *(member_case(f) for f in LINKS),
    *(odd_server_case(f) for f in ODD_SERVERS),
]


def test_there_are_many() -> None:
    assert len(CASES) + len(SERVERS) >= 200


def check(
    case: Case, whole: Path, tmp_path: Path, told: Callable[[], str], record: Callable[[str, object], None]
) -> None:
    home = tmp_path / "home"
    shutil.copytree(whole, home, symlinks=True)
    outcome, detail = "", ""
    try:
        with limited():
            case.run(home)
        outcome = "right answer" if case.expected == "either" else "silent acceptance"
    except Named as named:
        error = named.__cause__
        assert error is not None
        detail = str(error.code) if isinstance(error, SystemExit) else str(error)
        clear = "\n" not in detail and len(detail) < 1500 and any(n in detail for n in named.names)
        outcome = "clear error" if clear else "unclear error"
    except Hang:
        outcome = "hang"
    except Exception as error:
        outcome, detail = "traceback", f"{type(error).__name__}: {error}"
    if "Traceback" in told():
        outcome = "traceback"
    record("input", outcome)
    assert outcome in ("clear error", "right answer"), f"{case.name}: {outcome} {detail}"


@pytest.mark.parametrize("case", CASES if LONG else CASES[::11], ids=lambda c: c.name)
def test_a_broken_file_is_one_line(
    case: Case, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(http_ranges, "WAITS_S", (0.0, 0.0))
    check(case, whole, tmp_path, lambda: "".join(capsys.readouterr()), record_property)


@pytest.mark.parametrize("fault", list(SERVERS) if LONG else list(SERVERS)[::4])
def test_a_server_that_fails_is_one_line(
    fault: str, whole: Path, tmp_path: Path, serve: Callable[..., tuple[str, type[Handler]]],
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:  # fmt: skip
    monkeypatch.setattr(http_ranges, "PATIENCE_S", 0.5)
    # what the server prints when it is left alone is not ours
    check(server_case(fault, serve), whole, tmp_path, lambda: "", record_property)
