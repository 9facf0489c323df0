"""Programs for accelerators that are not here: what is counted, and the commands."""

import itertools
import json
import pathlib
import re

import jax
import jax.numpy as jnp
import pytest

import jrnn
from experiments import operations, targets
from experiments.bench import command, compiling
from experiments.errors import UserError

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "devices.md"
TEXT = """
%body.1 (p: (s32[], f32[2,3])) -> (s32[], f32[2,3]) {
  %p = (s32[], f32[2,3]{1,0:T(8,128)}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = f32[2,3]{1,0} get-tuple-element(%p), index=1
  %next = s32[] fusion(%i), kind=kLoop, calls=%add
  %y = (f32[2,3]{1,0}, f32[]) fusion(%x), kind=kLoop, calls=%tanh
  ROOT %t = (s32[], f32[2,3]{1,0}) tuple(%next, %x)
}

%condition.1 (p: (s32[], f32[2,3])) -> pred[] {
  %p = (s32[], f32[2,3]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %c = s32[]{:T(128)} constant(9)
  ROOT %lt = pred[] compare(%i, %c), direction=LT
}

ENTRY %main (a: f32[2,3]) -> f32[2,3] {
  %a = f32[2,3]{1,0} parameter(0)
  %w = (s32[], f32[2,3]{1,0}) while(%t), condition=%condition.1, body=%body.1KNOWN
}
"""
KNOWN = ', backend_config={"known_trip_count":{"n":"7"}}'


def test_operations_are_counted_in_the_text_of_a_program():
    """The pattern of a loop is read with the eye from a compiled program."""
    known, unknown = (TEXT.replace("KNOWN", by) for by in (KNOWN, ""))
    assert targets.loops(known) == [(7, 2)]
    assert targets.loops(unknown) == [(9, 2)]  # read in the condition
    assert targets.loops(known, numbers=False) == [(7, 1)]


def test_loops_within_loops_and_in_functions_are_counted():
    def outer(h, xs):
        inner = lambda h, x: (jnp.tanh(h * x), None)
        return jax.lax.scan(inner, h, xs)[0], None

    def run(h, xs):
        return jax.lax.scan(outer, h, xs)[0]

    shapes = (
        jax.ShapeDtypeStruct((2,), "float32"),
        jax.ShapeDtypeStruct((3, 5, 2), "f4"),
    )
    (loop,) = targets.lowered("h100", run, *shapes).loops
    assert loop.trips == 5 and loop.operations >= 3
    assert targets.lowered("h100", run, *shapes).outside >= 1
    (compiled,) = targets.compiled("cpu", run, *shapes).loops
    assert compiled.trips == 5 and 1 <= compiled.operations <= loop.operations
    assert (
        targets.Program([targets.Loop(5, 2), targets.Loop(10, 1)], 0).per_step(10) == 2
    )


def test_what_is_missing_is_told(monkeypatch):
    monkeypatch.setattr(targets.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="v5e:2x2 needs the wheel of libtpu"):
        targets.place("v5e:2x2")


@pytest.mark.without("jax_enable_checks", reason="JAX's own lowering fails its check")
def test_the_table_of_the_page_is_that_of_the_command(capsys):
    """The same columns, rows and loops; programs here are small, and not optimized."""
    options = ["--no-optimized", "--size", "8,2,4,5", "--cells", "gru", "--steps", "9"]
    assert operations.main("operations", options) == 0
    out = capsys.readouterr().out
    assert "Lowered programs: v5e:2x2, h100." in out
    printed, page = table(out), table(PAGE.read_text())
    assert printed[0] == page[0]
    every = itertools.product(operations.CELLS, operations.PROGRAMS)
    assert [tuple(row[:2]) for row in page[2:]] == list(every)
    page = [row for row in page if row[0] == "gru"]
    for mine, theirs in zip(printed[2:], page, strict=True):
        assert mine[:2] == theirs[:2]
        for a, b in zip(mine[2:], theirs[2:], strict=True):
            pattern = (
                r"\d kernels?|-" if "Pallas" in mine[1] else r"[\d.]+( \+ [\d.]+)?"
            )
            assert re.fullmatch(pattern, a) and re.fullmatch(pattern, b)
            assert a.count("+") == b.count("+")
    printed, page = (table(text, "| method | v5e") for text in (out, PAGE.read_text()))
    assert [row[:1] for row in printed[2:]] == [row[:1] for row in page[2:]]
    assert printed[0] == page[0]
    assert all(number.isdigit() for row in printed[2:] + page[2:] for number in row[1:])


def table(text, start="| cell | program"):
    """Returns the rows of the table that begins like this."""
    lines = text[text.index(start) :].splitlines()
    lines = itertools.takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_programs_are_compiled_refused_or_fail(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(compiling.METHODS, "pallas", jrnn.kernels.Pallas(memory=9))

    class Broken:
        def refusal(self, *given):
            return None

        def run(self, *given):
            raise RuntimeError("out of registers\nmore")

    monkeypatch.setitem(compiling.METHODS, "gated", Broken())
    options = ["--compile-for", "cpu", "--cells", "elman", "--sizes", "4,2,3,5"]
    options += ["--modes", "gradient-inputs", "--dtypes", "bfloat16"]
    options += ["--out", str(tmp_path)]
    assert command.main("bench", options) == 1
    rows = json.loads((tmp_path / "compiled.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["scan", "gated", "pallas"]
    assert [row["status"] for row in rows] == ["compiled", "failed", "refused"]
    assert rows[0]["loops"][0][0] == 4 and rows[0]["temporary"] > 0
    assert rows[1]["reason"] == "RuntimeError: out of registers"
    assert "may use 9 bytes" in rows[2]["reason"]
    assert "1 compiled, 1 refused, 1 failed" in capsys.readouterr().out


def test_rows_of_several_runs_are_one_page(tmp_path):
    """A row replaces that of the same program, and the page has a column per size."""
    first, again = (
        compiling.Row("gru", "gated", "float32", "forward", "A", temporary=size)
        for size in (2**20, 3 * 2**19)
    )
    again.loops = [targets.Loop(64, 7), targets.Loop(128, 3)]
    small = compiling.Row("gru", "pallas", "float32", "forward", "9,2,3,5", kernels=1)
    refused = compiling.Row("gru", "pallas", "float32", "forward", "A", "refused", "x")
    for row in (first, small, refused, again):
        compiling.save(tmp_path, "cpu", row)
    lines = (tmp_path / "compiled.md").read_text().splitlines()
    assert lines[0].endswith("| operations per step | A | 9,2,3,5 |")
    assert lines[2:] == [
        "| gru | gated | forward | float32 | 3.5 + 3 | 1.5 | - |",
        "| gru | pallas | forward | float32 | 1 kernel | refused | 0.0 |",
    ]
    before = (tmp_path / "compiled.json").read_text()
    with pytest.raises(UserError, match="holds the rows of cpu"):
        compiling.save(tmp_path, "h100", first)
    assert (tmp_path / "compiled.json").read_text() == before
