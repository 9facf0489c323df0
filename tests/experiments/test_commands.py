"""The command line: help, signals, and the commands in processes of their own."""

import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from experiments import __main__ as command_line
from experiments.errors import UserError
from experiments.run import commands, folder, messages, options, train
from experiments.run.session import Session
from experiments.tasks.char_lm import TASK
from tests.experiments.runs import log, newest, resume, start, steps

REPOSITORY = pathlib.Path(__file__).parents[2]


def run_command(*arguments):
    """Starts `python -m experiments` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_ctrl_c_saves_what_was_learned(tiny, tmp_path, capsys):
    given = tiny.to_json() | {"steps": 10**6, "out": tmp_path / "stopped"}
    given = {options.flag(k): v for k, v in given.items() if v is not None}
    process = run_command("train", "char_lm", *sum(given.items(), ()))
    metrics = tmp_path / "stopped" / "metrics.jsonl"
    while process.poll() is None and not metrics.exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "Interrupted. The model is saved." in output
    step = newest(tmp_path / "stopped")[1]
    assert step == log(tmp_path / "stopped")[-1]["step"] > 0

    where = str(tmp_path / "stopped")
    words = ["sample", where, "--prime", "The Ω", "--length", "30", "--top-k", "3"]
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:  # devices are chosen already
        patch.setattr("experiments.run.devices.prepare", lambda devices: None)
        patch.setattr(sys.stdout, "reconfigure", lambda **how: None, raising=False)
        assert command_line.main(words) == 0
    written = capsys.readouterr()
    assert written.out.startswith("The Ω") and len(written.out) == 5 + 30 + 1
    assert "<unk>" in written.err and "'Ω'" in written.err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 0)], ids=str
)
def test_a_signal_ends_a_run_after_the_call_and_resuming_goes_on(
    tiny, tmp_path, monkeypatch, number, code
):
    whole = start(tiny)
    advance = Session.advance

    def strike(session, *compiled):
        if session.step == 10:
            os.kill(os.getpid(), number)
        return advance(session, *compiled)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(Session, "advance", strike)
        config = dataclasses.replace(tiny, out=tmp_path / "struck")
        assert train.run(TASK, config) == code
    assert newest(tmp_path / "struck")[1] == 20
    assert handlers == (
        signal.getsignal(signal.SIGINT),
        signal.getsignal(signal.SIGTERM),
    )
    assert resume(tmp_path / "struck") == 0
    assert newest(tmp_path / "struck") == newest(whole)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 0)], ids=str
)
@pytest.mark.parametrize(
    "stage", ["after the last update", "within the save", "while scoring"]
)
def test_a_signal_after_the_last_update_loses_nothing(
    tiny, monkeypatch, number, code, stage
):
    def struck(function):
        signals = [number]  # one of them: a second one ends the process

        def call(*args, **options):
            if signals:
                os.kill(os.getpid(), signals.pop())
            return function(*args, **options)

        return call

    places = {
        "after the last update": (Session, "save"),
        "within the save": (folder, "save_weights"),
        "while scoring": (messages, "finish"),
    }
    place, name = places[stage]
    with monkeypatch.context() as patch:
        patch.setattr(place, name, struck(getattr(place, name)))
        assert train.run(TASK, tiny) == code
    assert newest(tiny.out)[1] == 40
    assert (tiny.out / "weights.safetensors").exists()
    if number == signal.SIGINT or stage == "while scoring":
        assert (tiny.out / "result.json").exists()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)], ids=str
)
@pytest.mark.parametrize("stage", ["load", "compile"])
def test_a_signal_at_the_start_has_its_exit_code(
    tiny, monkeypatch, number, code, stage
):
    place = {"load": type(TASK), "compile": Session}[stage]
    function = getattr(place, stage)

    def struck(*args):
        os.kill(os.getpid(), number)
        return function(*args)

    monkeypatch.setattr(place, stage, struck)
    assert train.run(TASK, tiny) == code
    assert tiny.out.exists() == (stage == "compile")
    assert steps(tiny.out) == []


def test_sigterm_after_the_last_update_computes_no_other_loss(tiny, monkeypatch):
    def save(session, old=Session.save):
        os.kill(os.getpid(), signal.SIGTERM)
        old(session)

    monkeypatch.setattr(Session, "save", save)
    monkeypatch.setattr(Session, "first_loss", lambda *args: pytest.fail("computed"))
    assert train.run(TASK, tiny) == 75


def test_signals_are_held_while_jax_is_imported():
    before = signal.getsignal(signal.SIGTERM)
    heard = []
    signal.signal(signal.SIGTERM, lambda *args: heard.append("late"))
    try:
        with commands.held_signals():  # of this thread: JAX has started others
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            assert not heard
            signal.signal(signal.SIGTERM, lambda *args: heard.append("now"))
        assert heard == ["now"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_before_the_first_update_saves_nothing(tiny, monkeypatch):
    loop = train.loop

    def strike(*args):
        os.kill(os.getpid(), signal.SIGINT)
        loop(*args)

    monkeypatch.setattr(train, "loop", strike)
    assert train.run(TASK, tiny) == 130
    assert steps(tiny.out) == []
    monkeypatch.undo()
    assert resume(tiny.out) == 0
    assert newest(tiny.out)[1] == 40


@pytest.mark.parametrize("words", [["--help"], ["list"], ["train", "--help"]], ids=str)
def test_help_is_instant_and_does_not_import_jax(words):
    code = (
        "import atexit, runpy, sys, time\n"
        "report = lambda: print('jax' in sys.modules, time.process_time() < 1)\n"
        "atexit.register(report)\n"
        f"sys.argv[1:] = {words}\n"
        "runpy.run_module('experiments', run_name='__main__')\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert out.returncode == 0, out.stderr
    assert "usage: python -m experiments" in out.stdout or "char_lm" in out.stdout
    assert out.stdout.strip().endswith("False True")


def test_unknown_commands_are_listed(capsys):
    assert command_line.main(["tarin"]) == 2
    shown = capsys.readouterr().err
    assert "no command is called 'tarin'" in shown and "train" in shown


@pytest.mark.parametrize("command", ["list", "cells"])
def test_a_command_without_options_has_help_and_refuses_the_rest(command, capsys):
    for word in ("-h", "--help"):
        with pytest.raises(SystemExit) as end:
            command_line.main([command, word])
        assert not end.value.code
        shown = capsys.readouterr().out
        assert shown.startswith(f"usage: python -m experiments {command} [-h]")
        assert "Prints the table of" in shown
        assert len(shown.splitlines()) < 12
    for word in ("foo", "--foo"):
        with pytest.raises(UserError, match=f"unrecognized options: {word}"):
            command_line.main([command, word])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train word_lm --hidden-size x", "--hidden-size: invalid literal for int()"),
        ("train word_lm --hiden-size 3", "--hiden-size, 3. Do you mean --hidden-size?"),
        ("train word_lm --variant foo", "'foo' for argument '--variant'. Expected one"),
        ("train word_lm --minutes", "missing value for argument '--minutes'"),
        ("sweep parity --seeds x", "--seeds: invalid literal for int()"),
        ("sample run --top-k x", "--top-k"),
        ("report run --bst", "unrecognized options: --bst. Do you mean --best?"),
        ("plot run", "missing from python -m experiments plot: --out. See"),
        ("export", "experiments export: RUN, --format, --out. See"),
        ("export run --out x", "experiments export: --format. See"),
        ("gradient_flow --seed", "unrecognized options: --seed"),
    ],
)
@pytest.mark.parametrize("columns", ["20", "200"])
def test_a_wrong_option_is_an_error_of_one_line(
    words, message, columns, monkeypatch, capfd
):
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(UserError) as error:
        command_line.main(words.split())
    text = str(error.value)
    assert message in text and "\n" not in text
    assert re.search(r" See python -m experiments [a-z_ ]+ --help\.$", text)
    assert capfd.readouterr() == ("", "") and os.environ["COLUMNS"] == columns


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("operations --cells foo", "--cells must be among lstm, gru, elman, got foo"),
        ("operations --targets foo --no-optimized", "foo is not a target: use h100"),
        ("operations --targets v5e:2x --no-optimized", "v5e:2x is not a target"),
        ("operations --size foo", "--size foo: a size is one of A"),
        ("operations --steps 0", "--steps must be at least 1, got 0"),
        ("scaling --hosts 8 0", "--hosts must be at least 1, got 0"),
        ("scaling --gigabits 0", "--gigabits must be positive, got 0"),
        ("scaling --update 0", "--update must be positive, got 0"),
        ("scaling --latency -1", "--latency must be at least 0, got -1"),
        ("layouts --rounds 0", "--rounds must be at least 1, got 0"),
        ("layouts --chunks 4 0", "--chunks must be at least 1, got 0"),
        ("layouts --sizes 4,1,2,4 foo", "--sizes foo: a size is one of A"),
        ("parts --rounds 0 --calls 0", "got 0; --calls must be at least 1, got 0"),
        ("parts --size foo", "--size foo: a size is one of A"),
        ("parallel --seeds 0 --tables iterations", "--seeds must be at least 1, got 0"),
        ("parallel --rounds 0 --tables speed", "--rounds must be at least 1, got 0"),
        ("parallel --tables foo", "--tables must be among iterations, windows"),
        ("bench --calls 0", "--calls must be at least 1, got 0"),
    ],
)
def test_a_value_out_of_range_is_an_error_of_one_line(words, message, capsys):
    with pytest.raises(UserError) as error:
        command_line.main(words.split())
    assert message in str(error.value) and "\n" not in str(error.value)
    assert capsys.readouterr().out == ""
