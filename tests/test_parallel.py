"""The parallel kernel: it equals the scan, and says truthfully how it went."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import forms
from jrnn.kernels import Parallel
from jrnn.testing import weighted_sum
from jrnn.values import value
from tests.cases import CASES, B, F, H, assert_close, randomise, shapes

TANH = jrnn.activations.tanh
DIAGONAL = jrnn.ParaGRU(H)
BLOCK = jrnn.Zoneout(jrnn.LRU(H, output_features=5), rates=0.3)
DENSE, LINEAR = jrnn.GRU(H), jrnn.LRU(H, output_features=5)


@value
class Pairs(jrnn.cells.VectorCell):
    """Two coupled leaves: h' = tanh(x Wx + a h + b c), c' = tanh(d c + h h')."""

    output_size = H

    @property
    def form(self):
        return forms.Plain(self._step, structure=("block", 2))

    def init(self, key, input_size, dtype=float):
        cell = jrnn.LSTM(H)
        return cell.init(key, input_size, dtype)._replace(
            w_h=jax.random.normal(key, (4 * H,), dtype)
        )

    def initial_state(self, params, batch_shape=()):
        return jrnn.LSTM(H).initial_state(params._replace(w_h=params.w_x), batch_shape)

    def project(self, params, x, *, key=None):
        return x @ params.w_x + params.b_x

    def _step(self, params, state, u):
        a, b, d, e = jnp.split(params.w_h, 4)
        p, q, r, s = jnp.split(u, 4, axis=-1)
        h = jnp.tanh(p + a * state.h + b * state.c)
        c = jnp.tanh(q + r * s + d * state.c + e * state.h * h)
        return jrnn.cells.LSTMState(h, c)

    def read(self, params, state, u):
        return state.h * state.c


def setting(cell, time, dtype=jnp.float64, batch=(B,), features=(F,)):
    size = features if len(features) > 1 else features[0]
    params = randomise(shapes(cell, size), 1, dtype)
    state = randomise(cell.initial_state(params, batch), 2, dtype)
    return params, state, randomise(np.zeros((*batch, time, *features)), 3, dtype)


def flags_for(time, which):
    rng = np.random.default_rng(time)
    drawn = {
        "mask": jnp.asarray(rng.random((B, time)) < 0.8),
        "reset": jnp.asarray(rng.random((B, time)) < 0.2),
        "lengths": jnp.array([time - time // 3, 0]),
    }
    return {name: drawn[name] for name in drawn if name in which}


# With the order "auto", complex linear cells run the scan on a CPU: see `Linear`.
AT_ONCE = Parallel(order="associative")


def both(cell, method=AT_ONCE, reverse=False):
    """Returns a compiled function of arguments and flags.

    It returns states, outputs and all gradients, of the method and of the scan.
    """

    def loss(method, args, flags):
        how = flags | {"reverse": reverse, "return_states": True}
        out = jrnn.scan(cell, *args, method=method, **how)
        return weighted_sum(out), out

    gradient = functools.partial(jax.value_and_grad, has_aux=True)
    runs = [gradient(functools.partial(loss, kind)) for kind in (method, "scan")]
    return jax.jit(lambda args, flags: [run(args, flags) for run in runs])


def compare(cell, time, which="", method=AT_ONCE, dtype=jnp.float64):
    """Compares states, outputs and all gradients with those of the scan."""
    run = both(cell, method, "reverse" in which)
    actual, expected = run(setting(cell, time, dtype), flags_for(time, which))
    assert_close(actual, expected, allowed(dtype, time))


def allowed(dtype, time):
    """Returns the difference from the scan that rounding explains."""
    return 1e-10 if dtype == jnp.float64 else 1e-5 * time**0.5


SOME = [
    ("diagonal", DIAGONAL, 17, "mask, reset, reverse"),
    ("diagonal", DIAGONAL, 256, ""),
    ("diagonal", jrnn.LearnedState(DIAGONAL), 9, "reset, mask"),
    ("block", Pairs(), 17, "reset, mask"),
    ("block", BLOCK, 3, "reverse, lengths"),
    ("block", jrnn.QRNN(H), 9, "reset, mask"),  # blocks of 5, as matrices
    ("dense", DENSE, 17, "lengths, reset"),
    ("dense", jrnn.LSTM(H), 3, "reverse, mask"),
    ("dense", jrnn.Zoneout(jrnn.Elman(H), 0.3), 1, "mask"),
    ("linear", LINEAR, 2, "lengths"),
    ("linear", jrnn.LearnedState(LINEAR), 17, "mask, reset, reverse"),
]


@pytest.mark.parametrize(("structure", "cell", "time", "which"), SOME, ids=str)
def test_it_equals_the_scan(structure, cell, time, which):
    assert structure in (cell.structure, cell.structure[0])
    with jax.enable_x64(True):
        compare(cell, time, which)


@pytest.mark.parametrize("cell", [DIAGONAL, DENSE], ids=str)
def test_it_equals_the_scan_in_single_precision(cell):
    compare(cell, 17, "reset", dtype=jnp.float32)


@pytest.mark.slow
@pytest.mark.skipif(
    "JRNN_WHOLE" not in os.environ, reason="takes half an hour: JRNN_WHOLE=1"
)
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32], ids=["f64", "f32"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_cell_equals_the_scan(case, dtype):
    """Prints the largest difference, relative to one more than the number.

    In float32, four times the rounding error of the scan itself is allowed too.
    """
    if "ClipCotangent" in repr(case.cell):
        pytest.skip("its gradient is of no loss")
    if dtype == jnp.float32 and "MixedPrecision" in repr(case.cell):
        pytest.skip("it computes in float64")
    worst = 0.0
    with jax.enable_x64(dtype == jnp.float64):
        forward, backward = (both(case.cell, reverse=turn) for turn in (False, True))
        for time in (1, 2, 3, 17, 256):
            args = setting(case.cell, time, dtype, features=case.features)
            ones, none = jnp.ones((B, time), bool), jnp.zeros((B, time), bool)
            every = jnp.full((B,), time)
            turns = [  # programs get the flags as data, and few are compiled
                (forward, flags_for(time, "mask, reset")),
                (forward, {"mask": ones, "reset": none}),
                (backward, flags_for(time, "lengths, reset")),
                (backward, {"lengths": every, "reset": none}),
            ]
            turns += [(forward, {})] * (time == 17)
            for run, flags in turns:
                actual, expected = run(args, flags)
                limit, found = allowed(dtype, time), largest_gap(actual, expected)
                if found > limit and dtype == jnp.float32:
                    exact = exactly(case.cell, args, flags, run is backward)
                    limit = max(limit, 4 * largest_gap(expected, exact))
                assert_close(actual, expected, limit)
                worst = max(worst, found)
    print(f"{case.cell}, {dtype.__name__}: {worst:.1e}")
    jax.clear_caches()  # the programs of all cells do not fit in memory together


def exactly(cell, args, flags, reverse):
    """Returns what the scan computes in float64: some cells amplify its rounding."""
    with jax.enable_x64(True):
        args = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), args)
        return jax.tree.map(np.asarray, both(cell, "scan", reverse)(args, flags)[1])


def largest_gap(actual, expected):
    """Returns the largest of all gaps of two trees."""
    return max(jax.tree.leaves(jax.tree.map(gap, actual, expected)))


def gap(actual, expected):
    """Returns the largest difference, relative to one more than the number."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    return float(np.max(np.abs(actual - expected) / (1 + np.abs(expected)), initial=0))


@pytest.mark.parametrize(
    ("cell", "which"),
    [
        (DIAGONAL, ""),
        (DIAGONAL, "reverse, mask, reset"),
        (DENSE, "reverse, mask, reset"),
    ],
    ids=str,
)
def test_windows_equal_the_scan(cell, which):
    with jax.enable_x64(True):
        compare(cell, 11, which, Parallel(window=4))
        params, state, xs = setting(cell, 11)
        info = jrnn.parallel_info(
            cell, params, state, xs, method=Parallel(window=4), **flags_for(11, which)
        )
        assert info.iterations.shape == (3,) and info.converged.all()


def test_forward_mode_noise_and_remat_work():
    cell = jrnn.Zoneout(jrnn.ParaGRU(H), 0.3)
    args = setting(cell, 9, jnp.float32)
    how = {"key": jax.random.key(3)}

    def along(method, **options):
        run = lambda *a: jrnn.scan(cell, *a, method=method, **how, **options)[1]
        tangents = jax.tree.map(jnp.cos, args)
        return jax.jvp(run, args, tangents)

    expected = jax.jit(lambda: along("scan"))()
    assert_close(jax.jit(lambda: along("parallel"))(), expected)
    assert_close(jax.jit(lambda: along("parallel", remat="sqrt"))(), expected)


def test_it_maps_over_rows():
    cell = jrnn.ParaGRU(H)
    params, _, xs = setting(cell, 9, jnp.float32)
    run = lambda x: jrnn.scan(cell, params, None, x, method="parallel")[1]
    expected = jrnn.scan(cell, params, None, xs, method="scan")[1]
    assert_close(jax.jit(jax.vmap(run))(xs), expected)


@pytest.mark.without("jax_check_tracer_leaks", reason="JAX replaces the error")
def test_a_second_derivative_is_an_error():
    cell = jrnn.ParaGRU(H)
    params, state, xs = setting(cell, 5, jnp.float32)
    for method in ("parallel", Parallel(window=2)):
        loss = lambda xs: jnp.sum(jrnn.scan(cell, params, state, xs, method=method)[1])  # noqa: B023
        with pytest.raises(NotImplementedError, match="first derivatives only"):
            jax.jvp(jax.grad(loss), (xs,), (xs,))
        with pytest.raises(NotImplementedError, match="use method='scan'"):
            jax.grad(lambda xs: jnp.sum(jax.grad(loss)(xs)))(xs)  # noqa: B023


@value
class Counting(jrnn.cells.Wrapper):
    """A cell that counts its steps in an integer."""

    cell: jrnn.Cell

    @property
    def form(self):
        step = lambda p, s, u: (self.cell.step(p, s[0], u), s[1] + 1)
        return forms.Plain(step)

    def initial_state(self, params, batch_shape=()):
        inner = self.cell.initial_state(params, batch_shape)
        return inner, jnp.zeros((*batch_shape, 1), jnp.int32)

    def read(self, params, state, u):
        return self.cell.read(params, state[0], u)


def test_what_cannot_be_run_is_refused():
    def run(cell, **how):
        params = cell.init(jax.random.key(0), F)
        return jrnn.scan(cell, params, None, jnp.ones((B, 5, F)), **how)

    with pytest.raises(ValueError, match="replaces it by another one"):
        run(jrnn.Zoneout(jrnn.ClipCotangent(DENSE, norm=1.0), 0.1), method="parallel")
    with pytest.raises(TypeError, match=r"state\[1\] is int32, but method='parallel'"):
        run(Counting(DENSE), method="parallel")
    for wrong in ({"tolerance": 0.0}, {"max_iterations": 0}, {"window": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Parallel(**wrong)
    with pytest.raises(ValueError, match="order must be one of"):
        Parallel(order="fast")
    params, state, xs = setting(DENSE, 5, jnp.float32)
    with pytest.raises(TypeError, match=r"jrnn.kernels.Parallel\(...\)"):
        jrnn.parallel_info(DENSE, params, state, xs, method="parallel")
    with pytest.raises(ValueError, match="an option of parallel_info must be one of"):
        jrnn.parallel_info(DENSE, params, state, xs, remat="step")
