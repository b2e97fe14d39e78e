"""Words are words, sweeps are checked like single runs, and whatever goes wrong ends in one line."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from rsmoe.checks.yaml_file import check_yaml
from rsmoe.cli import main
from rsmoe.cli.check import checked
from rsmoe.cli.help import COMMANDS
from rsmoe.cli.terminal import console, printable
from rsmoe.cli.words import items
from rsmoe.config import compose
from rsmoe.errors import UserError
from rsmoe.settings import settings_of
from rsmoe.settings.model import fields_of, verbatim

WORDS = [
    "[refer] Where is the ship?",
    "[grounding]",
    "'quoted'",
    '"White roofs": how many?',
    "{a: b}",
    "a, b, and c",
    "what is ${name}",
    "\\${escaped}",
    "${",
    "#hash # more",
    "x=y, z=1",
    "back\\slash",
    "end\\",
    "trailing  ",
    "  leading",
    "two\nlines\n",
    "tab\there",
    "这是什么？",
    "how many 🚢?",
    "C:\\data\\x",
    "\\\\server\\share\\",
    "1,2,3",
    "null and void",
    "true",
    "3.5",
    "choice(a,b)",
    "range(1,3)",
    "~/x (1).png",
    "-1",
    "@!%&*()|;<>?",
    "it's",
    "a'b\"c",
    "\\'",
    "",
]


def as_hydra_reads(name: str, *words: str, multirun: bool = False) -> list[str]:
    spelled = [w for w in checked(name, [*(["-m"] if multirun else []), *words]) if w != "--multirun"]
    if multirun:
        (batch,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(spelled), None)
        (spelled,) = batch
    return spelled


def value(key: str, name: str, *words: str, multirun: bool = False) -> Any:
    """What `config` has under one key that is typed, without composing again."""
    parsed = OverridesParser.create().parse_overrides(as_hydra_reads(name, *words, multirun=multirun))
    (found,) = [override.value() for override in parsed if override.key_or_group == key]
    return OmegaConf.to_container(OmegaConf.create({"found": found}), resolve=True)["found"]  # type: ignore[call-overload, index]


def config(name: str, *words: str, multirun: bool = False) -> dict[str, Any]:
    """What a command is given, through the same check that the entry points use, and Hydra's own way of a sweep."""
    spelled = as_hydra_reads(name, *words, multirun=multirun)
    found: dict[str, Any] = OmegaConf.to_container(compose(spelled, name=name, with_hydra=True), resolve=False)  # type: ignore[assignment]
    del found["hydra"]
    return OmegaConf.to_container(OmegaConf.create(found), resolve=True)  # type: ignore[return-value]


@pytest.mark.parametrize("multirun", [False, True])
@pytest.mark.parametrize("word", [w for w in WORDS if w])
def test_an_instruction_is_what_was_typed(word: str, multirun: bool) -> None:
    words = ("checkpoint=c", "image=a.png", f"instruction={word}")
    assert value("instruction", "predict", *words, multirun=multirun) == word


LITERAL = [
    (name, key)
    for name in COMMANDS
    for key, _ in fields_of(settings_of(name))
    if verbatim(settings_of(name), key)
    and key not in ("out", "data.root", "loader.stream.quarantine", "features.folder", "sample_ids", "classes", "stop")
]


@pytest.mark.parametrize(("name", "key"), LITERAL, ids=str)
def test_every_key_of_words_takes_any(name: str, key: str) -> None:
    from support.commands import BASE

    word = "[x] 'y', ${z}=\\ #1"
    base = [w for w in BASE[name] if not w.startswith(f"{key}=")]
    if (name, key) in (("predict", "image"), ("predict", "requests")):
        base = [w for w in base if not w.startswith("image")]
    assert value(key, name, *base, f"{key}={word}") == word


@pytest.mark.parametrize("word", ["stage.experts.losses.label=0.1", "stage.experts.losses_until.label=5"])
def test_a_number_stays_one_under_a_name_that_elsewhere_has_words(word: str) -> None:
    key, _, number = word.partition("=")
    assert value(key, "train", word) == float(number)


def test_lists_of_words() -> None:
    given = config("predict", "checkpoint=c", "image=a", "classes=[no change,'a, b',[c]]")
    assert given["classes"] == ["no change", "a, b", "[c]"]
    given = config("evaluate", "checkpoint=c", "benchmark=scenes", "sample_ids=[12,a (1).png,${x}]")
    assert given["sample_ids"] == ["12", "a (1).png", "${x}"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("[a (1).png,été.png]", ["a (1).png", "été.png"]),
        ("['a,b.tif',c.tif]", ["a,b.tif", "c.tif"]),
        ('["a,b.tif" , c.tif]', ["a,b.tif", "c.tif"]),
        ("[ a.png , b=1.png ]", ["a.png", "b=1.png"]),
        ("['70s.png,b]", ["'70s.png", "b"]),
        ("[it's.png,b's.png]", ["it's.png", "b's.png"]),
        ("[C:\\a\\b.tif,C:\\]", ["C:\\a\\b.tif", "C:\\"]),
        ("['[a].png']", ["[a].png"]),
        ("[${a}.png,{b}.png]", ["${a}.png", "{b}.png"]),
        ("[a.png]", ["a.png"]),
        ("a,b.png", "a,b.png"),
        ("[1].png", "[1].png"),
        ("x[1].png", "x[1].png"),
        ("~x=1.png", None),
    ],
)
@pytest.mark.parametrize("multirun", [False, True])
def test_a_list_of_paths_is_split_at_its_commas(typed: str, expected: Any, multirun: bool) -> None:
    if expected is None:
        with pytest.raises(UserError, match="no home folder"):
            checked("predict", ["checkpoint=c", f"image={typed}"])
        return
    assert value("image", "predict", "checkpoint=c", f"image={typed}", multirun=multirun) == expected


def test_items() -> None:
    assert items("[]") == [] and items("[a,]") == ["a", ""] and items("['']") == [""]


def test_null_is_none_where_there_may_be_none() -> None:
    base = ["checkpoint=null", "image=a"]
    given = config("predict", *base, "instruction=null", "out=null", "raster.date_pattern=null")
    assert (given["checkpoint"], given["image"], given["instruction"], given["out"]) == ("null", "a", None, None)


def test_words_of_parts_and_hydra_s_folders(tmp_path: Path) -> None:
    given = config("inspect", "data=own_jsonl", f"data.root={tmp_path}/[a],b", "data.instruction='Say, what?'")
    assert given["data"]["root"] == f"{tmp_path}/[a],b" and given["data"]["instruction"] == "'Say, what?'"
    given = config("train", "name=a, b [c]", "text.lm=/m/[x],y", "lm=llama_3_2_1b", "lm.pretrained=/m/a=[b]")
    assert given["name"] == "a, b [c]" and (given["text"]["lm"], given["lm"]["pretrained"]) == ("/m/[x],y", "/m/a=[b]")
    run = checked("train", [f"hydra.run.dir={tmp_path}/[a],b/${{name}}"])
    cfg = compose(run, with_hydra=True)
    assert cfg.hydra.run.dir == f"{tmp_path}/[a],b/custom"
    quoted_by_lightning = checked("train", [f'hydra.run.dir="{tmp_path}/x"'])
    assert compose(quoted_by_lightning, with_hydra=True).hydra.run.dir == f"{tmp_path}/x"


def refused(name: str, *words: str) -> str:
    with pytest.raises(UserError) as caught:
        checked(name, list(words))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("sweep", [(), ("-m",)])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["experiment=ucm_moee", "seed=0"], "Did you mean 'ucm_moe'"),
        (["sed=1"], "unknown key 'sed'"),
        (["foo"], "cannot read 'foo'"),
        (["data=x"], "corpus=<name>"),
        (["benchmark=scenes"], "unknown key 'benchmark'"),
        (["seed=(1"], "cannot read seed=(1"),
        (["seed=x"], "seed=x: expected a whole number"),
        (["seed="], "seed=: expected a whole number"),
        (["~nosuch"], "nosuch"),
        (["+seed.x=1"], "seed"),
        (["--confg-dir=x"], "--confg-dir"),
        (["--config-dir=/no/such"], "--config-dir=/no/such"),
        (["seed=1", "seed=x"], "seed=x"),
        (["router=unifor"], "Did you mean 'uniform'"),
        (["stage.dense.step=1"], "unknown key under 'stage.dense'"),
        (["name=\udcff"], "UTF-8"),
    ],
)
def test_mistakes_are_the_same_line_in_a_sweep(sweep: tuple[str, ...], words: list[str], expected: str) -> None:
    assert expected in refused("train", *sweep, *words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["seed=0,1,x"], "seed=x"),
        (["experiment=ucm_moe,ucm_mo"], "ucm_mo"),
        (["router=instruction,uniform,den"], "den"),
        (["image_size=64,96.5"], "image_size=96.5"),
        (["experiment=change_schedule", "schedule=rsmoe_two_stage,single_stag"], "single_stag"),
        (["seed=range(-1,2)"], "seed=-1"),
        (["seed=choice()"], "seed"),
        (["bands=3,4"], "bands=4"),
    ],
)
def test_every_value_of_a_sweep_is_checked(words: list[str], expected: str) -> None:
    assert expected in refused("train", "-m", *words)


def test_sweeps_that_can_begin() -> None:
    for flag in ("-m", "--multirun"):
        assert "--multirun" in checked("train", ["seed=0,1", flag, "experiment=ucm_moe,rsicap_moe"])
    checked("train", ["experiment=change_temporal", "seed=0,1"])  # its yaml sweeps by itself
    assert "-m" in refused("train", "seed=0,1")
    assert checked("train", ["-m", "seed=range(0,500)"])  # each value once


def run_main(task: Any, *words: str) -> None:
    main("experts")(task)(["checkpoint=none", "benchmark=scenes", *words])


def test_a_failed_job_does_not_stop_the_next_ones(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seen = []

    def task(cfg: DictConfig) -> None:
        seen.append(cfg.seed)
        if cfg.seed == 1:
            raise UserError("no such thing")
        if cfg.seed == 2:
            raise RuntimeError("a bug")

    with pytest.raises(SystemExit) as caught:
        run_main(task, "-m", "seed=0,1,2,3", f"hydra.sweep.dir={tmp_path}")
    assert seen == [0, 1, 2, 3]
    told = str(caught.value)
    assert "2 of 4 jobs failed" in told and "seed=1): no such thing" in told and "RuntimeError: a bug" in told
    assert "Traceback" in capfd.readouterr().err  # of the bug


def test_what_a_user_can_mend_is_a_line_and_a_bug_a_traceback(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RSMOE_CACHE", str(tmp_path / "file" / "cache"))
    given: list[Exception] = []

    def task(cfg: DictConfig) -> None:
        try:
            raise given[0]
        except OSError as error:
            raise RuntimeError("Error in call to target") from error

    def said(error: Exception) -> str:
        given[:] = [error]
        with pytest.raises(SystemExit) as caught:
            run_main(task, f"out={tmp_path}/a.json")
        return str(caught.value)

    assert said(UserError("give\x1b[2Jless")) == "error: give\\x1b[2Jless"
    assert "out=" in said(PermissionError(13, "Permission denied", f"{tmp_path}/a.json"))
    cache = said(NotADirectoryError(20, "Not a directory", f"{tmp_path}/file/cache/x"))
    assert "export RSMOE_CACHE" in cache
    assert "No space left" in said(OSError(28, "No space left on device"))
    given[:] = [ZeroDivisionError("a bug")]
    with pytest.raises(ZeroDivisionError):
        run_main(task)
    given[:] = [BrokenPipeError()]


def test_interrupts_end_with_130(capfd: pytest.CaptureFixture[str]) -> None:
    def task(cfg: DictConfig) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(SystemExit) as caught:
            run_main(task)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught.value.code == 130 and capfd.readouterr().err == "error: interrupted\n"


def test_an_interrupt_in_a_finalizer_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    class Freed:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    def task(cfg: DictConfig) -> None:
        Freed()
        time.sleep(20)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit) as caught:
            run_main(task)
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught.value.code == 130 and capfd.readouterr().err == "error: interrupted\n"


def test_an_interrupt_that_an_import_swallows_ends_the_process(tmp_path: Path) -> None:
    (tmp_path / "swallows.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    import json\n"
        "except BaseException:\n    pass\n"
    )
    script = (
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from rsmoe.cli.entry import listen\nlisten()\nimport swallows\nprint('went on')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": f"{Path(__file__).parents[2]}:{tmp_path}"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr, done.stdout) == (130, "error: interrupted\n", "")


STEERING = ["\x1b[31m", "\x07", "\x9b2J", "\u202e", "\u2066", "a\rb", "\x7f", "\x1b]0;title\x07", "\x00"]


@pytest.mark.parametrize("text", STEERING)
def test_nothing_steers_the_terminal(text: str) -> None:
    file = io.StringIO()
    out = console(80, file=file, force_terminal=True, color_system=None)
    table = Table("id", title=f"of {text}")
    table.add_row(f"x{text}y")
    for shown in (f"x{text}y", table):
        out.print(shown)
    out.print(f"style {text}", style="bold")
    plain = file.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\x1b[3m", "")
    assert not any(sign in plain for sign in "\x1b\x07\x9b\u202e\u2066\r\x7f\x00")
    assert all(sign not in printable(text) for sign in "\x1b\x07\x9b\u202e\u2066\r\x7f\x00")


def test_markup_and_emoji_codes_are_text() -> None:
    file = io.StringIO()
    console(80, file=file).print("[red]a[/red] [link=x] :smile:")
    assert file.getvalue().strip() == "[red]a[/red] [link=x] :smile:"
    assert printable("a\tb\nc, 中文 🚢 é") == "a\tb\nc, 中文 🚢 é"
    assert printable("a\nb", lines=False) == "a\\nb"


BOMB = "\n".join(
    ["a0: &a0 [x,x,x,x,x,x,x,x,x]", *(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))]
)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (BOMB, "aliases"),
        ("a: &a [*a]", "holds itself"),
        ("[" * 100_000, "deeper than"),
        ("\n".join(" " * i + "a:" for i in range(200)), "deeper than"),
        ("a: 1\na: 2", "twice"),
        ("a:\n  b: 1\n  b: 2", "twice"),
        (f"a: {'1' * 10_000}", "digits"),
        ("a:\n\t- b", "line 2"),
        (b"a: \xff\xfe", "UTF-8"),
        ("- a\n- b", "no mapping"),
        ("just words", "no mapping"),
        ("a: b: c", "no YAML"),
        ("? [a, b]\n: 1", "no word"),
        ("x: " + "y" * (2 << 20), "larger"),
    ],
    ids=range(14),
)
def test_yaml_has_limits(content: str | bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "router" / "x.yaml"
    path.parent.mkdir()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=expected):
        check_yaml(path)
    assert "x.yaml" in refused("train", f"--config-dir={tmp_path}", "router=x")


def test_good_yaml_passes(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for text in ("", "# nothing", "a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}"):
        path.write_text(text)
        check_yaml(path)


def test_config_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file" in refused("train", f"--config-dir={tmp_path}/file")
    assert "no such folder" in refused("train", "--config-dir", f"{tmp_path}/none")
    odd = tmp_path / "a, [b] 'c'"
    (odd / "router").mkdir(parents=True)
    (odd / "router" / "mine.yaml").write_text("# mine\n_target_: rsmoe.router.uniform.UniformRouter\n")
    assert checked("train", ["--config-dir", str(odd), "router=mine"])
    monkeypatch.setattr("rsmoe.config.MOST_FILES", 3)
    assert "no folder of configs" in refused("train", f"--config-dir={odd}")


def test_a_stretch_can_be_typed_as_two_numbers() -> None:
    from rsmoe.geo.stretch import Stretch, named_stretch

    given = config("predict", "checkpoint=c", "image=a.tif", "raster.stretch=[0,2047]")
    assert named_stretch(given["raster"]["stretch"]) == Stretch(0.0, 2047.0)
    with pytest.raises(UserError, match="expected a name, or"):
        named_stretch([1.0])


def test_a_template_that_nobody_reads_is_refused() -> None:
    words = ["experiment=rsicap_moe", "expert.theme.template=Name the place."]
    with pytest.raises(UserError, match=r"^expert\.theme\.template=Name the place\. has no effect.* prompts=template"):
        checked("train", words)
    for prompts in ("template", "text"):
        assert checked("train", [*words, f"prompts={prompts}"])
