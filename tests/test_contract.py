"""What a cell must be: malformed cells say so, and broken laws are found."""

import ast
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

import jrnn
from jrnn import forms, kernels, testing
from jrnn.cells import HiddenCell, Wrapper
from tests.cases import B, F, H, T, assert_close
from tests.test_scan import STATE, XS, row, scan

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "design.md"


@pytest.fixture(scope="module")
def page():
    """The code of the page: a complete cell, then the line that checks it."""
    blocks = [
        block.split("```")[0] for block in PAGE.read_text().split("```python")[1:]
    ]
    names: dict = {}
    exec(blocks[0], names)
    return blocks, names


def test_a_custom_gated_cell_takes_15_lines_of_code(page):
    tree = ast.parse(page[0][0])
    (cell,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    lines = {
        i for node in ast.walk(cell) for i in (getattr(node, "lineno", None),) if i
    }
    assert len(lines - {cell.body[0].lineno}) <= 15  # but for the docstring


def test_the_cell_of_the_page_passes_and_keeps_its_kernel_in_every_wrapper(page):
    blocks, names = page
    exec(blocks[1], names)
    cell = names["Leaky"](F)
    inputs = kernels.Inputs(jnp.ones((T, B, F)), None, None, None)
    for wrapped in (
        cell,
        jrnn.Zoneout(cell, 0.1),
        jrnn.ResidualCell(cell),
        jrnn.LearnedState(cell),
        jrnn.LayerNormed(cell),
        jrnn.WeightDrop(cell, 0.5),
        jrnn.MixedPrecision(cell),
        jrnn.ClipCotangent(cell, norm=1.0),
    ):
        chosen = kernels.choose("auto", wrapped, inputs, kernels.Options())
        assert chosen == kernels.Gated(), wrapped


@jrnn.value
class Skewed(HiddenCell):
    """An Elman network whose orthogonal weights are the exponential of a matrix."""

    hidden_size: int

    class Prepared(NamedTuple):
        w_x: jax.Array
        rotation: jax.Array

    @property
    def form(self):
        return forms.Gated(
            hidden=lambda state: state.h,
            recurrent=lambda prepared: forms.Matmul(prepared.rotation),
            update=lambda prepared, state, p: jrnn.cells.ElmanState(jnp.tanh(p)),
            local=False,
        )

    def init(self, key, input_size, dtype=float):
        return jrnn.Elman(self.hidden_size, bias=False).init(key, input_size, dtype)

    def initial_state(self, params, batch_shape=()):
        return jrnn.Elman(self.hidden_size).initial_state(params, batch_shape)

    def project(self, prepared, x, *, key=None):
        return x @ prepared.w_x


@jrnn.value
class Rotated(Wrapper):
    """Prepares parameters of another structure."""

    cell: jrnn.Cell

    def prepare(self, params, *, key=None, batch_shape=()):
        skew = params.w_h - params.w_h.T
        return Skewed.Prepared(params.w_x, jax.scipy.linalg.expm(skew))


def test_prepared_parameters_may_have_another_structure():
    cell = Rotated(Skewed(H))
    with jax.enable_x64(True):
        subject = testing.make_subject(cell, F)
        for name in ("padding is inert", "a reset starts from the initial state"):
            testing.LAWS[name](subject)
        params, state, xs = subject.params, subject.state, subject.xs
        rotation = jax.scipy.linalg.expm(params.w_h - params.w_h.T)
        plain = params._replace(w_h=rotation)
        expected = jrnn.scan(jrnn.Elman(H, bias=False), plain, state, xs)
        assert_close(jrnn.scan(cell, params, state, xs), expected, 1e-12)
    layer = jrnn.Sequential(jrnn.Recurrent(jrnn.LearnedState(cell)), jrnn.Dense(2))
    params = layer.init(jax.random.key(0), F)
    assert layer.apply(params, None, XS)[1].shape == (B, T, 2)


# -------------------------------------------------------------------- malformed cells


class Half:
    """Defines some of what a cell needs, and is no cell."""

    def init(self, key, input_size, dtype=float):
        return ()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (jrnn.LSTM, r"the class LSTM. Make an instance, such as `LSTM\("),
        (jrnn.Recurrent(jrnn.LSTM(4)), "got the layer Recurrent"),
        (Half(), "does not define feature_axes, form, initial_state, output_size, p"),
    ],
)
def test_what_is_no_cell_is_refused(cell, message):
    with pytest.raises(TypeError, match=message):
        jrnn.scan(cell, None, None, XS)
    for make in (jrnn.Recurrent, jrnn.LearnedState, testing.check_cell):
        with pytest.raises(TypeError, match=message):
            make(cell, *[3] * (make is testing.check_cell))


def test_an_incomplete_cell_says_what_is_missing():
    class Incomplete(HiddenCell):
        def init(self, key, input_size, dtype=float):
            return ()

    with pytest.raises(TypeError, match="form, initial_state(,| and) project"):
        Incomplete()


def test_a_cell_is_final():
    with pytest.raises(TypeError, match="Bounded overrides project of LSTM.*wrap the"):

        class Bounded(jrnn.LSTM):
            def project(self, params, x, *, key=None):
                return super().project(params, jnp.tanh(x), key=key)

    with pytest.raises(TypeError, match="Stepping overrides step of Cell"):

        class Stepping(HiddenCell):
            def step(self, params, state, u):
                return state

    class Doubling:
        def project(self, params, x, *, key=None):
            return super().project(params, 2 * x, key=key)

    with pytest.raises(TypeError, match="Mixed overrides project of LSTM"):

        class Mixed(Doubling, jrnn.LSTM):
            pass

    class Drawn(jrnn.LSTM):  # `init` is the caller's
        def init(self, key, input_size, dtype=float):
            return super().init(key, input_size + 0, dtype)

    assert Drawn(4).init(jax.random.key(0), 3).w_h.shape == (4, 16)


# ---------------------------------------------------------------------- broken laws


@jrnn.value
class Broken(Wrapper):
    """A GRU that breaks one law."""

    cell: jrnn.Cell
    how: str

    @property
    def form(self):
        form = self.cell.form
        if self.how == "casts":
            return form.wrap(
                lambda params, u, state, advance: jax.tree.map(
                    lambda h: h.astype(jnp.float32), advance(state)
                )
            )
        if self.how == "nonlinear":
            return form.wrap(
                lambda params, u, state, advance: jax.tree.map(jnp.tanh, advance(state))
            )
        if self.how == "coupled":
            return forms.Plain(form.step, "diagonal")
        return form

    def init(self, key, input_size, dtype=float):
        params = self.cell.init(key, input_size, dtype)
        if self.how == "shares":
            return params._replace(b_h=params.b_x)
        return params

    def initial_state(self, params, batch_shape=()):
        state = self.cell.initial_state(params, batch_shape)
        if self.how == "shares":
            return Pair(state.h, state.h)
        return state

    def project(self, params, x, *, key=None):
        u = self.cell.project(params, x, key=key)
        if self.how == "mixes rows":
            return jax.tree.map(lambda a: a + jnp.mean(a), u)
        if self.how == "dead":
            return jax.tree.map(jax.lax.stop_gradient, u)
        return u

    def __repr__(self):
        return "Broken(0x1)" if self.how == "prints" else f"Broken({self.how})"


class Pair(NamedTuple):
    h: jax.Array
    c: jax.Array


@pytest.mark.parametrize(
    ("how", "law"),
    [
        ("casts", "a step keeps structure, shapes and dtypes"),
        ("mixes rows", "project and read treat time and batch alike"),
        ("nonlinear", "kernels equal the scan"),
        ("coupled", "the Jacobian has the declared structure"),
        ("dead", "every parameter has a gradient"),
        ("shares", "no two leaves share memory"),
        ("prints", "a cell is a plain value"),
    ],
)
def test_a_broken_law_is_found(how, law):
    cell = Broken(jrnn.GRU(H), how)
    with jax.enable_x64(True):
        good = testing.make_subject(jrnn.GRU(H), F)
        subject = testing.Subject(cell, good.params, good.state, good.xs)
        testing.LAWS[law](good)
        with pytest.raises(
            (AssertionError, TypeError, ValueError, NotImplementedError)
        ):
            testing.LAWS[law](subject)


def test_check_cell_names_the_law():
    with pytest.raises(
        AssertionError, match=r"Broken\(0x1\) breaks the law that a cell"
    ):
        testing.check_cell(Broken(jrnn.GRU(H), "prints"), F)


# ------------------------------------------------------------------------- bad inputs


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"xs": jnp.ones((B, T, F + 1))}, ValueError, "xs must have 3 features"),
        ({"xs": jnp.ones(F)}, ValueError, "jrnn.step"),
        ({"state": (STATE.h, STATE.c)}, TypeError, r"LSTMState\(h=\[2, 4\]"),
        ({"state": row(STATE, 0)}, ValueError, r"state.h must have shape \[2, 4\]"),
        ({"mask": jnp.ones((B, T), jnp.int32)}, TypeError, "mask must be boolean"),
        (
            {"mask": jnp.ones((T, B), bool)},
            ValueError,
            r"mask must be \[\*batch, time\]",
        ),
        ({"reset": jnp.ones((B, T + 1), bool)}, ValueError, "reset must be"),
        ({"lengths": jnp.ones(B)}, TypeError, "lengths must be integers"),
        ({"lengths": jnp.ones(B + 1, int)}, ValueError, "batch shape"),
        ({"unroll": 0}, ValueError, "unroll"),
        ({"method": "magic"}, ValueError, "method must be one of"),
        ({"xs": XS.astype(jnp.complex64)}, TypeError, "MixedPrecision"),
    ],
)
def test_says_what_is_wrong(change, error, message):
    with pytest.raises(error, match=message):
        scan(**change)
