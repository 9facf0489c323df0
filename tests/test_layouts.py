"""How the gated kernel splits time is what was measured; long on accelerators."""

import jax
import jax.numpy as jnp
import pytest

import jrnn
from jrnn import kernels
from jrnn.kernels.gated import layout as layouts
from jrnn.testing import weighted_sum
from tests.cases import assert_close
from tests.kernel_cases import CHUNK, MASK, RESET, SHORT, Mixed, long_setting


def choose(time, batch, inputs, units):
    cell = jrnn.LSTM(units)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), inputs))
    state = jax.eval_shape(lambda p: cell.initial_state(p, (batch,)), params)
    xs = jax.ShapeDtypeStruct((time, batch, inputs), jnp.float32)
    inputs = kernels.Inputs(xs, None, None, None)
    return layouts.choose(cell, kernels.Loop(params, state, state, inputs))


@pytest.mark.parametrize(
    "sizes, layout",
    [
        ((128, 32, 128, 128), (16, True, False)),
        ((128, 16, 256, 512), (32, True, False)),
        ((512, 64, 64, 256), (16, True, False)),
        ((100, 128, 28, 128), (4, False, True)),
        ((64, 32, 64, 256), (16, True, False)),
        ((100, 256, 128, 256), (4, True, False)),
        ((128, 128, 128, 128), (8, True, False)),
        ((4096, 16, 64, 64), (32, False, False)),
        ((128, 1, 128, 256), (128, True, False)),
    ],
)
def test_layouts_are_those_that_were_measured(sizes, layout):
    assert choose(*sizes) == layouts.Layout(*layout)


def test_chunks_are_long_on_accelerators():
    long = layouts.Layout(layouts.MAX_STEPS, save=True, joint=False)
    found = layouts.accelerated(2 * layouts.MAX_STEPS)
    assert found._replace(packed=False, unroll=1) == long
    assert found.packed and found.unroll > 1


def packed_cells():
    return [
        jrnn.GRU(4),
        jrnn.Zoneout(jrnn.LSTM(4), 0.2),
        jrnn.MixedPrecision(jrnn.GRU(4)),
        Mixed(jrnn.Elman(4)),
    ]


@pytest.mark.parametrize("cell", packed_cells(), ids=str)
def test_one_array_holds_what_a_step_saves(cell):
    """Leaves of several ranks or dtypes stay apart. bfloat16 may round otherwise."""
    packed = kernels.Gated(layouts.Layout(CHUNK, packed=True, unroll=2))
    args = long_setting(cell, dtype=jnp.float32)

    def loss(args, method):
        flags = {"mask": MASK, "reset": RESET, "return_states": True}
        return weighted_sum(jrnn.scan(cell, *args, method=method, **flags))

    run = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    tolerance = 1e-2 if isinstance(cell, jrnn.MixedPrecision) else 1e-5
    assert_close(run(args, packed), run(args, SHORT), tolerance)


@pytest.mark.parametrize("flags", [{"mask": MASK}, {"reset": RESET}])
def test_a_gradient_is_two_loops(flags):
    """One forward and one backward; a third would only broadcast flags."""
    cell = jrnn.LSTM(5)
    params, state, xs = long_setting(cell, dtype=jnp.float32)

    def loss(params):
        return weighted_sum(jrnn.scan(cell, params, state, xs, **flags)[1])

    text = jax.jit(jax.grad(loss)).lower(params).compile().as_text()
    assert text.count(" while(") == 2
