"""The gated kernel: its derivatives, its memory layout and cells of unusual shapes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import forms
from jrnn.kernels import Gated, Layout
from jrnn.testing import weighted_sum
from tests.cases import B, F, assert_close, randomise
from tests.kernel_cases import (
    CHUNK,
    LENGTHS,
    LONG,
    MASK,
    RESET,
    SHORT,
    SITUATIONS,
    Around,
    BlockDiagonal,
    Counted,
    Counting,
    Mixed,
    Scalars,
    long_setting,
)

rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
    """With one device, batch dimensions are flattened; tests of sharding have two."""
    monkeypatch.setattr(jax, "device_count", lambda: 1)


def test_a_chunk_has_a_step():
    with pytest.raises(ValueError, match="layout.chunk must be at least 1 step, got 0"):
        Gated(Layout(chunk=0))


def test_an_empty_batch_works():
    params, state, xs = long_setting(jrnn.LSTM(4), (0,), jnp.float32)
    run = lambda params: jnp.sum(
        jrnn.scan(jrnn.LSTM(4), params, state, xs, method=SHORT)[1]
    )
    assert not jnp.any(jax.grad(run)(params).w_h)


@pytest.mark.parametrize("devices", [1, 2])
def test_axes_are_flattened_on_one_device_only(devices, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    cell = jrnn.LSTM(4 + devices)  # traced once for each
    params, state, xs = long_setting(cell, dtype=jnp.float32)
    run = jax.grad(
        lambda params: jnp.sum(jrnn.scan(cell, params, state, xs, method=SHORT)[1])
    )
    text = str(jax.make_jaxpr(run)(params))
    assert (f"[{CHUNK * B},{F}]" in text) == (devices == 1)  # of xs


FEW_INPUTS = [
    jrnn.LSTM(2 * F + 1),
    jrnn.PeepholeLSTM(2 * F + 1, coupled=True, separate_biases=True),
    jrnn.Elman(2 * F + 1, bias=False),
]


@pytest.mark.parametrize("cell", FEW_INPUTS, ids=repr)
def test_joint_matmuls_and_recomputation_differentiate_in_both_modes(cell):
    flags = {"lengths": LENGTHS, "mask": MASK, "reset": RESET}

    @functools.partial(jax.jit, static_argnums=0)
    def all_of(method, args, along):
        def run(*args):
            how = {"reverse": True, "return_states": True, "method": method}
            return jrnn.scan(cell, *args, **how, **flags)

        value, tangent = jax.jvp(run, args, along)
        loss = lambda a: weighted_sum(run(*a))
        return run(*args), value, tangent, jax.grad(loss)(args)

    with jax.enable_x64(True):
        args = long_setting(cell)
        along = randomise(args, 4)
        actual = all_of(Gated(Layout(CHUNK, save=False, joint=True)), args, along)
        assert_close(actual, all_of("scan", args, along), 1e-10)


def test_a_second_derivative_passes_through_no_loop_that_writes_in_place():
    """It would copy the whole in every step."""
    cell = jrnn.LSTM(5)
    args = long_setting(cell, dtype=jnp.float32)
    loss = lambda params: weighted_sum(jrnn.scan(cell, params, *args[1:], method=SHORT))
    slope = lambda params: weighted_sum(jax.grad(loss)(params))
    whole = f":f32[{LONG},{B},5] = dynamic_update_slice"
    assert whole in str(jax.make_jaxpr(slope)(args[0]))
    assert whole not in str(jax.make_jaxpr(jax.grad(slope))(args[0]))


@pytest.mark.parametrize("situation", ["all states, mask", "reverse, lengths, reset"])
@pytest.mark.parametrize("kernel", [Gated(), SHORT], ids=["one chunk", "chunks"])
def test_second_derivatives_and_maps_equal_those_of_the_scan(kernel, situation):
    with jax.enable_x64(True):
        args = long_setting(SMALL)
        along = randomise(args, 4)
        many = jax.tree.map(lambda *a: np.stack(a), args, along, randomise(args, 5))
        actual = second(kernel, situation, args, along, many)
        assert_close(actual, second("scan", situation, args, along, many), 1e-9)


SMALL = jrnn.Elman(5)


@functools.partial(jax.jit, static_argnums=(0, 1))
def second(method, situation, args, along, many):
    """Second derivatives in every mode, and gradients under vmap."""
    options, flags = SITUATIONS[situation]

    def loss(args):
        out = jrnn.scan(SMALL, *args, method=method, **options, **flags)
        return weighted_sum(out)

    slope = jax.grad(loss)
    return (
        jax.jvp(slope, (args,), (along,))[1],
        jax.grad(lambda args: weighted_sum(slope(args)))(args),
        jax.jvp(lambda a: jax.jvp(loss, (a,), (along,))[1], (args,), (along,)),
        jax.vmap(slope)(many),
        jax.vmap(slope, in_axes=((0, None, None),))((many[0], *args[1:])),
    )


@pytest.mark.without("jax_check_tracer_leaks", reason="JAX replaces the error")
@pytest.mark.parametrize(
    "change", [lambda a, b: jnp.tanh(b), jnp.multiply, lambda a, b: b * (b > a)]
)
@pytest.mark.parametrize("mode", [jax.grad, jax.jacfwd])
def test_a_wrapper_that_is_not_linear_in_the_state_is_refused(change, mode):
    cell = Around(jrnn.Elman(4), change)
    params, state, xs = long_setting(cell, dtype=jnp.float32)
    loss = lambda params: weighted_sum(jrnn.scan(cell, params, state, xs))
    with pytest.raises(TypeError, match="must be linear in the state.*forms.Plain"):
        mode(loss)(params)


def test_a_linear_form_refuses_such_a_wrapper_too():
    cell = Around(jrnn.MinGRU(4), lambda a, b: jnp.tanh(b))
    with pytest.raises(TypeError, match="must be linear in the state"):
        params = cell.init(jax.random.key(0), F)
        jrnn.scan(cell, params, None, jnp.ones((B, 3, F)))


@pytest.mark.parametrize("wrap", [lambda cell: cell, lambda c: jrnn.Zoneout(c, 0.2)])
def test_a_state_may_hold_integers(wrap):
    cell = wrap(Counting(4))
    params, state, xs = long_setting(jrnn.Elman(4), dtype=jnp.float32)
    state = Counted(state.h, jnp.array([3, 5]))

    def loss(params, method):
        final, ys = jrnn.scan(cell, params, state, xs, method=method)
        return weighted_sum(ys), final.steps

    actual, steps = jax.grad(loss, has_aux=True)(params, "auto")
    assert_close(actual, jax.grad(loss, has_aux=True)(params, "scan")[0])
    if cell == Counting(4):
        assert steps.tolist() == [3 + LONG, 5 + LONG]


def same_gradients(one, other, args, method):
    def run(cell, args, method):
        loss = lambda *args: weighted_sum(jrnn.scan(cell, *args, method=method))
        return jax.value_and_grad(loss, (0, 1, 2))(*args)

    assert_close(run(one, args, method), run(other, args, "scan"), 1e-10)


@pytest.mark.parametrize("batch", [(), (B,)])
@pytest.mark.parametrize("kind", [Mixed, Scalars])
def test_contributions_of_any_rank_are_computed(kind, batch):
    cell = kind(jrnn.Elman(4))
    with jax.enable_x64(True):
        same_gradients(cell, cell, long_setting(cell, batch), SHORT)


def test_heads_are_the_blocks_of_a_dense_matrix():
    cell = BlockDiagonal(4)
    with jax.enable_x64(True):
        args = params, state, xs = long_setting(cell)
        same_gradients(cell, cell, args, SHORT)
        dense = jax.scipy.linalg.block_diag(*params.w_h)
        _, ys = jrnn.scan(cell, *args, method=SHORT)
        whole = params._replace(w_h=dense)
        assert_close(ys, jrnn.scan(jrnn.Elman(4), whole, state, xs)[1], 1e-12)


def test_the_gates_of_heads_lie_side_by_side():
    w = jnp.asarray(rng.standard_normal((2, 3, 4 * 3)), jnp.float32)  # 4 gates
    h = jnp.asarray(rng.standard_normal((5, 6)), jnp.float32)
    gates = [jax.scipy.linalg.block_diag(*w[:, :, 3 * k : 3 * k + 3]) for k in range(4)]
    dense = forms.Matmul(jnp.concatenate(gates, axis=-1))
    heads = forms.BlockDiagonal(w)
    assert_close(heads(h), dense(h), 1e-6)
    assert_close(heads.diagonal(), dense.diagonal())
    assert_close(dense.hoist()(h), dense(h), 1e-6)


@jrnn.value
class Doubling(jrnn.cells.Wrapper):
    """Changes the input, but not the form."""

    cell: jrnn.Cell

    def project(self, params, x, *, key=None):
        return self.cell.project(params, 2 * x, key=key)


@jrnn.value
class Pretending(jrnn.cells.Wrapper):
    """The same, and says otherwise."""

    cell: jrnn.Cell
    affine_inputs = True
    project = Doubling.project


class Squares:
    """A base of cells that has nothing but another `project`."""

    def project(self, params, x, *, key=None):
        return ((x * x) @ params.w_x + params.b_x,)


@jrnn.value
class Squaring(Squares, jrnn.cells.GatedCell):
    hidden_size: int
    blocks = 1

    def update(self, params, state, p):
        return jrnn.cells.HiddenState(jnp.tanh(p[0]))


WIDE = 2 * F  # units for which `auto` joins the matmuls of input and state


def test_the_input_of_a_wrapper_that_changes_it_is_not_joined():
    inner = jrnn.Elman(WIDE)
    outer = jrnn.Zoneout(Doubling(inner), 0.25)
    with jax.enable_x64(True):
        params = randomise(inner.init(jax.random.key(0), F), 1)
        xs = randomise(jnp.zeros((8, 5, F)), 2)
        expected = jrnn.scan(jrnn.Zoneout(inner, 0.25), params, None, 2 * xs)
        assert_close(jrnn.scan(outer, params, None, xs), expected, 1e-12)


@pytest.mark.parametrize(
    "cell",
    [
        Doubling(jrnn.Elman(4)),
        Squaring(4),
        jrnn.InputDropout(jrnn.LSTM(4), 0.5),
        jrnn.GRU(4),
    ],
    ids=str,
)
def test_a_layout_that_joins_refuses_what_it_cannot_join(cell):
    params, xs = cell.init(jax.random.key(0), F), jnp.ones((B, 5, F))
    joint = Gated(Layout(5, joint=True))
    with pytest.raises(ValueError, match="joins the matmuls of input and state"):
        jrnn.scan(cell, params, None, xs, method=joint, key=jax.random.key(1))


def test_a_law_finds_that_inputs_are_not_what_the_form_says():
    law = jrnn.testing.LAWS["`affine_inputs` is true of it"]
    with jax.enable_x64(True):
        for cell in (jrnn.Elman(4), Doubling(jrnn.Elman(4))):
            law(jrnn.testing.make_subject(cell, F))
        with pytest.raises(AssertionError, match="pre-activations by one matmul"):
            law(jrnn.testing.make_subject(Pretending(jrnn.Elman(4)), F))
