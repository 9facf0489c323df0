"""Trading time for memory changes neither values nor gradients, only the memory."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.kernels import remat
from tests.cases import B, Case, H, T, assert_close, setting


@dataclasses.dataclass(frozen=True)
class Noisy(jrnn.cells.Wrapper):
    """A GRU whose input is noisy and whose output reads the input as well."""

    cell: jrnn.Cell = jrnn.GRU(H)
    output_size = 3 * H

    def project(self, params, x, *, key=None):
        noise = 0.0 if key is None else jax.random.uniform(key, x.shape, x.dtype)
        return self.cell.project(params, x + noise)

    def read(self, params, state, u):
        return jnp.concatenate(u, axis=-1) * jnp.tile(state.h, 3)


CELL = Noisy()
CASE = Case(CELL, None)
FLAGS = {
    "lengths": jnp.array([5, T]),
    "mask": jnp.ones((B, T), bool).at[1, 2:4].set(False),
    "reset": jnp.zeros((B, T), bool).at[0, 3].set(True).at[1, 4].set(True),
}


@functools.partial(jax.jit, static_argnames="how")
def loss_and_gradients(args, flags, how):
    def loss(args):
        out = jrnn.scan(CELL, *args, **flags, **dict(how))
        waves = [
            jnp.sum(leaf * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape))
            for leaf in jax.tree.leaves(out)
        ]
        return sum(waves), out

    return jax.value_and_grad(loss, has_aux=True)(args)


def outcome(flags, **how):
    with jax.enable_x64(True):
        return loss_and_gradients(setting(CASE), flags, tuple(how.items()))


def test_values_and_gradients_stay_the_same():
    expected = outcome(FLAGS, reverse=True)
    for dial in ["step", (2, 2, 2)]:  # exact, and with an idle step
        assert_close(outcome(FLAGS, reverse=True, remat=dial), expected, 1e-12)


def test_idle_steps_leave_the_last_output_alone():
    expected = outcome({}, return_sequence=False)
    actual = outcome({}, return_sequence=False, remat=(3, 3), unroll=2)
    assert_close(actual, expected, 1e-12)


def test_noise_and_stacked_states_stay_the_same():
    args = setting(CASE, dtype=jnp.float32)
    how = {**FLAGS, "return_states": True, "key": jax.random.key(4)}
    expected = jrnn.scan(CELL, *args, **how)
    assert_close(jrnn.scan(CELL, *args, remat="sqrt", **how), expected)


def test_layers_pass_the_dial_on(monkeypatch):
    cell, seen = jrnn.LSTM(H, bias=False), []
    args = setting(Case(cell, None), dtype=jnp.float32)
    lengths = remat.lengths
    monkeypatch.setattr(
        remat, "lengths", lambda *args: seen.append(args[0]) or lengths(*args)
    )
    jax.eval_shape(jrnn.Recurrent(cell, remat=(4, 3)).apply, *args)
    assert set(seen) == {(4, 3)}


def test_works_on_explicit_meshes():
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Explicit,))
    cell = jrnn.LSTM(H)
    params, state, xs = setting(Case(cell, None), dtype=jnp.float32)
    _, expected = jrnn.scan(cell, params, state, xs)
    with jax.set_mesh(mesh):
        rows = jax.sharding.PartitionSpec("d")
        state, xs = jax.device_put((state, xs), rows)
        _, ys = jrnn.scan(cell, params, state, xs, remat=(2, 4))
        assert_close(np.asarray(ys), np.asarray(expected))


def test_the_loops_of_sqrt_cover_the_time_closely():
    for time in range(1, 400):
        outer, inner = remat.lengths("sqrt", time)
        assert time <= outer * inner < time + inner
        assert outer + inner <= 3 * time**0.5 + 2
    assert remat.lengths("sqrt", 4096) == (64, 64)
    assert remat.lengths("sqrt", 1000) == (40, 25)  # no idle step, unlike (32, 32)


@pytest.mark.parametrize("dial", ["sqr", 4, (3, 2), (), (0, 9), (2.0, 4.0), [7, 7]])
def test_a_bad_dial_says_what_to_give(dial):
    args = setting(CASE, dtype=jnp.float32)
    with pytest.raises(ValueError, match=r"product is at least the 7 time steps"):
        jrnn.scan(CELL, *args, remat=dial)


@pytest.mark.parametrize("time", [0, 1])
def test_short_sequences_work(time):
    params, state, xs = setting(CASE, dtype=jnp.float32)
    out = jrnn.scan(CELL, params, state, xs[:, :time], remat="sqrt")
    assert_close(out, jrnn.scan(CELL, params, state, xs[:, :time]))


def test_an_empty_batch_works():
    params, _, xs = setting(CASE, dtype=jnp.float32)
    _, ys = jrnn.scan(CELL, params, None, jnp.tile(xs[:0], (1, 2, 1)), remat="sqrt")
    assert ys.shape == (0, 2 * T, 3 * H)


def test_idle_steps_are_no_longer_a_program():
    def size(dial):
        run = lambda *args: jrnn.scan(CELL, *args, remat=dial)[1]
        return len(str(jax.make_jaxpr(run)(*setting(CASE, dtype=jnp.float32))))

    # The two print numbers of other lengths; a step more would take thousands.
    assert size((8, 64)) < size((2, 4)) + 1000


def memory(time, dial):
    """Bytes that XLA sets aside for the gradient of a loss on the last output."""
    cell = jrnn.LSTM(64)
    params = cell.init(jax.random.key(0), 16)

    def loss(params, xs):
        how = {"time_major": True, "return_sequence": False, "method": "scan"}
        return jnp.sum(jrnn.scan(cell, params, None, xs, remat=dial, **how)[1])

    gradient = jax.jit(jax.grad(loss))
    compiled = gradient.lower(params, jnp.ones((time, 8, 16))).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_the_dial_saves_memory():
    plain = memory(4096, None)
    assert plain / memory(4096, "sqrt") >= 40
    assert plain / memory(4096, (16, 16, 16)) >= 120
