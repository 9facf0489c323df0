"""The page about cells of your own: its code runs, and its cell is short."""

import ast
import pathlib

import jax
import jax.numpy as jnp
import pytest

import jrnn
from jrnn import kernels
from jrnn.cells import GatedCell

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "your_own_cell.md"
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def blocks():
    return [block.split("```")[0] for block in PAGE.read_text().split("```python")[1:]]


def test_the_cell_takes_at_most_15_lines_of_code(blocks):
    (cell,) = [n for n in ast.parse(blocks[0]).body if isinstance(n, ast.ClassDef)]
    inside = {
        line
        for node in cell.body[1:]  # after the docstring
        for line in range(node.lineno, node.end_lineno + 1)
    }
    assert len(inside) + len(cell.decorator_list) + 1 <= 15


def test_the_page_runs_and_its_cell_has_the_fast_kernel(blocks):
    names: dict = {}
    for block in blocks:
        exec(block, names)
    inputs = kernels.Inputs(jnp.ones((5, 2, 3)), None, None, None)
    wrapped = jrnn.Zoneout(names["OpenLSTM"](4), 0.1)
    chosen = kernels.choose("auto", wrapped, inputs, kernels.Options())
    assert chosen == kernels.Gated()


def test_the_cells_of_papers_are_what_the_page_says():
    rows = [row for row in PAGE.read_text().splitlines() if row.startswith("| ")]
    calls = [row.split("`")[1] for row in rows if row.count("`") == 2 and "(4" in row]
    assert len(calls) == 15
    for call in calls:
        cell = eval(call, vars(jrnn))
        assert jax.eval_shape(lambda key, cell=cell: cell.init(key, 3), KEY)


@jrnn.value
class Options(GatedCell):
    """A cell with every option that the page lists."""

    hidden_size: int
    bias: bool = True
    separate_biases: bool = False
    scheme: str = "torch"
    forget_bias: float | None = 5.0

    blocks = 2
    remembers = (0, -1)

    def update(self, params, state, p):
        return jrnn.cells.HiddenState(jnp.tanh(p[0]) + p[1])


def test_the_options_of_the_page_are_used():
    params = Options(4, separate_biases=True).init(KEY, 3)
    assert jnp.abs(params.w_x).max() <= 0.5  # PyTorch's bound, 1 / sqrt(H)
    assert jnp.abs(params.b_x[:4]).max() <= 0.5 and jnp.all(params.b_x[4:] < -4)
    assert params.b_h.shape == (8,)
    bare = Options(4, bias=False).init(KEY, 3)
    assert bare.b_x is None and bare.b_h is None
