"""A chat in a terminal: the picture in half blocks, turns that are read as the history, and its end."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.text import Text
from support.checkpoints import CALM, tiny_run

import rsmoe
from rsmoe.cli.terminal import console
from rsmoe.evaluation.assistant import Assistant
from rsmoe.evaluation.chat import ALONE, HELP, Chat
from rsmoe.evaluation.request import Request
from rsmoe.figures.half_blocks import half_blocks


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("run"), *CALM, steps=1)


def colours(drawn: Text) -> list[list[tuple[Any, Any]]]:
    """(ink, ground) of every character, by lines."""
    found = []
    for line in drawn.split("\n"):
        styles = [span.style for span in line.spans]
        found.append([(tuple(s.color.triplet), tuple(s.bgcolor.triplet)) for s in styles])  # type: ignore[union-attr]
    return found


def test_a_character_is_two_pixels() -> None:
    image = np.arange(4 * 3 * 3, dtype=np.uint8).reshape(4, 3, 3)
    told = colours(half_blocks(image, columns=80))
    assert told == [[(tuple(image[y, x]), tuple(image[y + 1, x])) for x in range(3)] for y in (0, 2)]


def test_a_large_picture_is_averaged_and_bands_beyond_red_green_blue_are_not_shown() -> None:
    image = np.random.default_rng(0).integers(0, 255, (80, 120, 4), dtype=np.uint8)
    told = colours(half_blocks(image, columns=30))
    assert len(told) == 10 and all(len(line) == 30 for line in told)
    np.testing.assert_array_equal(told[0][1][1], image[4:8, 4:8, :3].astype(int).sum((0, 1)) // 16)
    grey = colours(half_blocks(image[..., :1], columns=30))
    assert len(set(grey[3][7][0])) == 1


def test_turns_are_the_history_until_it_is_forgotten(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = rsmoe.load(run, device="cpu")
    asked: list[Request] = []
    answer = Assistant.answer

    def noted(self: Assistant, requests: list[Request], **options: Any) -> Any:
        asked.extend(requests)
        return answer(self, requests, **options)

    monkeypatch.setattr(Assistant, "answer", noted)
    picture = np.zeros((32, 32, 3), np.uint8)
    told = console(file=io.StringIO(), width=80)
    lines = iter(["what is there ?", " and where ? ", "/new", "what is there ?", "", "never read"])
    options = {"beams": 1, "max_new": 4, "raster": {}}
    chat = Chat(model=model, request=Request(id="a", pictures=(picture,)), options=options, console=told)
    chat.run(lambda: next(lines))
    assert [r.instruction for r in asked] == ["what is there ?", "and where ?", "what is there ?"]
    assert [len(r.history) for r in asked] == [0, 1, 0] and next(lines) == "never read"
    assert asked[1].history[0][0] == "what is there ?" and asked[1].history[0][1] in told.file.getvalue()  # type: ignore[attr-defined]
    assert HELP in told.file.getvalue()  # type: ignore[attr-defined]

    chat.model = Assistant(run=replace(model.run, dialogues=False))
    lines = iter(["what is there ?", ""])
    chat.run(lambda: next(lines))
    assert ALONE in told.file.getvalue()  # type: ignore[attr-defined]

    def ended() -> str:
        raise EOFError

    chat.run(ended)


def test_what_is_marked_and_what_was_done_to_the_picture_is_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done once; of each answer whether its mask holds something."""
    model = rsmoe.load(run, device="cpu")
    model = Assistant(run=replace(model.run, dialogues=False))
    request = Request(id="a", pictures=(np.zeros((32, 32, 3), np.uint8),))
    masks = iter([np.zeros((32, 32), bool), np.ones((32, 32), bool), np.zeros((32, 32), bool)])
    answer = Assistant.answer

    def found(self: Assistant, requests: list[Request], **options: Any) -> Any:
        mask = next(masks)
        notes = ("bands: red", *(() if mask.any() else ("mask: it is empty",)))
        return [replace(reply, mask=mask, notes=(*reply.notes, *notes)) for reply in answer(self, requests, **options)]

    monkeypatch.setattr(Assistant, "answer", found)
    told = console(file=io.StringIO(), width=80)
    lines = iter(["one", "two", "three", ""])
    chat = Chat(model=model, request=request, options={"beams": 1, "max_new": 2, "raster": {}}, console=told)
    chat.run(lambda: next(lines))
    seen = told.file.getvalue()  # type: ignore[attr-defined]
    assert seen.count("bands: red") == 1 and seen.count("mask: it is empty") == 2
    assert seen.count("mask of 100 % of the pixels") == 1 and "was read alone" not in seen


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_command_opens_it_in_a_terminal(run: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(tmp_path / "a.png")
    seen = "".join(typed(run, tmp_path / "a.png", ["what is there ?", ""]))
    assert "▀" in seen and "an empty line ends" in seen and seen.count("> ") == 2 and "error" not in seen


def typed(run: Path, picture: Path, lines: list[str]) -> Iterator[str]:
    """What the command prints in a terminal in which these lines are typed, one at each prompt."""
    import pty

    pid, terminal = pty.fork()
    if not pid:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "80"}
        os.execv(
            sys.executable,
            [sys.executable, "-m", "rsmoe.predict", f"checkpoint={run}", f"image={picture}", "beams=1", "max_new=4"],
        )
    until, left, seen = time.monotonic() + 300, list(lines), ""
    while time.monotonic() < until:
        try:
            piece = os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # it ended
            break
        seen += piece
        yield piece
        if left and seen.endswith("> "):
            os.write(terminal, f"{left.pop(0)}\n".encode())
            seen = ""
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0
