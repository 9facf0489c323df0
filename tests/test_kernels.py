"""Kernels equal the plain scan: gated cells x situations, values and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import kernels
from jrnn.kernels import layouts, rows
from tests.cases import CASES, B, F, assert_close, randomise

# For each class of cell its last row in the table of laws.
GATED = {
    type(case.cell): case for case in CASES if isinstance(case.cell, jrnn.GatedCell)
}
LONG = 2 * layouts.LEAST + 3  # two chunks and a rest, made so by `short_chunks`

rng = np.random.default_rng(0)
LENGTHS = jnp.array([LONG - 5, 1])
MASK = jnp.asarray(rng.random((B, LONG)) < 0.8)
RESET = jnp.asarray(rng.random((B, LONG)) < 0.1)
SITUATIONS = {
    "all states, mask": ({"return_states": True}, {"mask": MASK}),
    "reset, unroll": ({"unroll": 2}, {"mask": MASK, "reset": RESET}),
    "reverse, lengths, reset": (
        {"reverse": True},
        {"lengths": LENGTHS, "mask": MASK, "reset": RESET},
    ),
    "last only, lengths": ({"return_sequence": False}, {"lengths": LENGTHS}),
}


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(layouts, "WHOLE", 0)
    monkeypatch.setattr(layouts, "MOST", layouts.LEAST)
    # One device: axes are merged. Tests of sharding run with two.
    monkeypatch.setattr(jax, "device_count", lambda: 1)


def total(tree):
    """A loss that weighs every output and state differently."""
    weigh = lambda leaf: jnp.sum(
        leaf * jnp.cos(jnp.arange(leaf.size) + 1.0).reshape(leaf.shape)
    )
    return sum(weigh(leaf) for leaf in jax.tree.leaves(tree))


def long_setting(cell, batch=(B,), dtype=jnp.float64):
    params = randomise(cell.init(jax.random.key(0), F), 1, dtype)
    state = randomise(cell.initial_state(params, batch), 2, dtype)
    return params, state, randomise(jnp.zeros((*batch, LONG, F)), 3, dtype)


@pytest.mark.parametrize("case", GATED.values(), ids=str)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_gated_kernel_equals_the_plain_scan(case, situation):
    options, flags = SITUATIONS[situation]

    @jax.jit
    def both(args, flags):
        def loss(method, args):
            result = jrnn.scan(case.cell, *args, method=method, **options, **flags)
            return total(result), result

        run = functools.partial(jax.value_and_grad, has_aux=True)
        return [run(functools.partial(loss, m))(args) for m in ("gated", "scan")]

    with jax.enable_x64(True):
        actual, expected = both(long_setting(case.cell), flags)
        assert_close(actual, expected, 1e-10)


def test_a_cell_that_is_not_gated_is_refused_by_name():
    cell = jrnn.ResetBeforeGRU(4)
    params = cell.init(jax.random.key(0), F)
    with pytest.raises(ValueError, match="jrnn.GatedCell.*method='auto'"):
        jrnn.scan(cell, params, None, jnp.ones((B, 5, F)), method="gated")


def test_an_empty_batch_works():
    params, state, xs = long_setting(jrnn.LSTM(4), (0,), jnp.float32)
    run = lambda params: jnp.sum(jrnn.scan(jrnn.LSTM(4), params, state, xs)[1])
    assert not jnp.any(jax.grad(run)(params).w_h)


def test_merged_axes_are_parted_again():
    tree = {"a": jnp.ones((6, 2, 3)), "b": jnp.zeros((6,), jnp.int8), "none": None}
    merged, part = rows.merge(tree)
    assert (merged["a"].shape, merged["b"].shape) == ((6, 6), (6, 1))
    some = jax.tree.map(lambda a: a[:4], merged)
    assert_close(part(some), jax.tree.map(lambda a: a[:4], tree))


@pytest.mark.parametrize("devices", [1, 2])
def test_axes_are_merged_on_one_device_only(devices, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    cell = jrnn.LSTM(4 + devices)  # traced once for each
    params, state, xs = long_setting(cell, dtype=jnp.float32)
    run = jax.grad(lambda params: jnp.sum(jrnn.scan(cell, params, state, xs)[1]))
    text = str(jax.make_jaxpr(run)(params))
    assert (f"[{layouts.LEAST * B},{F}]" in text) == (devices == 1)  # of xs
    assert (f"[2,{layouts.LEAST},{cell.output_size * B}]" in text) == (devices == 1)


# Sizes that no other test has, as what is traced here must not be used elsewhere.
FEW_INPUTS = [
    jrnn.LSTM(2 * F + 1, forget_bias=0.25),
    jrnn.PeepholeLSTM(2 * F + 1, coupled=True, bias="double"),
    jrnn.Elman(2 * F + 1, bias=None),
    jrnn.GRU(2 * F + 1, bias="double"),
]


@pytest.mark.parametrize("cell", FEW_INPUTS, ids=repr)
def test_a_joint_product_and_a_second_computation_change_nothing(cell, monkeypatch):
    monkeypatch.setattr(layouts, "MANY", B)
    monkeypatch.setattr(layouts, "KEPT", -1)
    flags = {"lengths": LENGTHS, "mask": MASK, "reset": RESET}

    @functools.partial(jax.jit, static_argnums=0)
    def all_of(method, args, along):
        def run(*args):
            how = {"reverse": True, "return_states": True, "method": method}
            return jrnn.scan(cell, *args, **how, **flags)

        value, tangent = jax.jvp(run, args, along)
        return run(*args), value, tangent, jax.grad(lambda a: total(run(*a)))(args)

    with jax.enable_x64(True):
        args = long_setting(cell)
        inputs = kernels.Inputs(jnp.moveaxis(args[2], 0, 1), None, None, None)
        layout = layouts.choose(cell, args[0], inputs)
        assert (layout.keep, layout.joint) == (False, layouts.additive(cell))
        along = randomise(args, 4)
        actual = all_of("gated", args, along)
        assert_close(actual, all_of("scan", args, along), 1e-10)


def test_a_second_derivative_passes_through_no_loop_that_writes_in_place():
    """It would copy the whole in every step."""
    cell = jrnn.LSTM(5)
    args = long_setting(cell, dtype=jnp.float32)
    loss = lambda params: total(jrnn.scan(cell, params, *args[1:], method="gated"))
    slope = lambda params: total(jax.grad(loss)(params))
    whole = f":f32[{LONG},{B},5] = dynamic_update_slice"
    assert whole in str(jax.make_jaxpr(slope)(args[0]))
    assert whole not in str(jax.make_jaxpr(jax.grad(slope))(args[0]))


@pytest.mark.parametrize("situation", ["all states, mask", "reverse, lengths, reset"])
def test_second_derivatives_and_maps_equal_those_of_the_plain_scan(situation):
    options, flags = SITUATIONS[situation]
    cell = jrnn.Elman(5)

    @functools.partial(jax.jit, static_argnums=0)
    def all_of(method, args, along, many):
        def loss(args):
            return total(jrnn.scan(cell, *args, method=method, **options, **flags))

        slope = jax.grad(loss)
        return (
            jax.jvp(slope, (args,), (along,))[1],
            jax.grad(lambda args: total(slope(args)))(args),
            jax.jvp(lambda a: jax.jvp(loss, (a,), (along,))[1], (args,), (along,)),
            jax.vmap(slope)(many),
            jax.vmap(slope, in_axes=((0, None, None),))((many[0], *args[1:])),
        )

    with jax.enable_x64(True):
        args = long_setting(cell)
        along = randomise(args, 4)
        many = jax.tree.map(lambda *a: jnp.stack(a), args, along, randomise(args, 5))
        actual = all_of("gated", args, along, many)
        assert_close(actual, all_of("scan", args, along, many), 1e-9)


class Shifted(jrnn.LSTM):
    """Departs from its base in what is projected."""

    def project(self, params, x, *, key=None):
        return super().project(params, x + 1, key=key)


class Bounded(jrnn.LSTM):
    """Departs from its base in the step itself."""

    def step(self, params, state, u):
        return jax.tree.map(jnp.tanh, super().step(params, state, u))


@pytest.mark.parametrize("kind", [Shifted, Bounded])
def test_what_a_subclass_does_is_done(kind, monkeypatch):
    monkeypatch.setattr(layouts, "MANY", B)
    cell = kind(2 * F + 2)
    assert layouts.additive(jrnn.LSTM(4)) and layouts.additive(cell) == (
        kind is Bounded
    )
    with jax.enable_x64(True):
        args = long_setting(cell)
        run = lambda method: jax.value_and_grad(
            lambda *args: total(jrnn.scan(cell, *args, method=method)), (0, 1, 2)
        )
        assert_close(run("auto")(*args), run("scan")(*args), 1e-10)
        if kind is Bounded:
            with pytest.raises(ValueError, match="never calls the `step`"):
                jrnn.scan(cell, *args, method="gated")


class Mixed(jrnn.Elman):
    """Has shares of one number per example in u and in p, and reads one of them."""

    def project(self, params, x, *, key=None):
        return super().project(params, x, key=key), jnp.sum(x, -1), jnp.mean(x, -1)

    def combine(self, params, u, v):
        return u[0] + v, u[1], u[2]

    def update(self, params, state, p):
        shift = jnp.stack(p[1:], axis=-1).sum(-1, keepdims=True)
        return super().update(params, state, p[0] + shift)

    def read(self, params, state, u):
        return super().read(params, state, u) * u[-1][..., None]


class Scalars(Mixed):
    """Has no other shares."""

    def project(self, params, x, *, key=None):
        return jnp.sum(x, -1), jnp.mean(x, -1)

    def combine(self, params, u, v):
        return u[0] + v[..., 0], u[1] - v[..., 1]

    def update(self, params, state, p):
        return jax.tree.map(lambda h: jnp.tanh(p[0] * p[1])[..., None] * h + 1, state)


@pytest.mark.parametrize("batch", [(), (B,)])
@pytest.mark.parametrize("kind", [Mixed, Scalars])
def test_shares_of_any_rank_are_computed(kind, batch):
    cell = kind(4)
    with jax.enable_x64(True):
        args = long_setting(cell, batch)
        run = lambda method: jax.value_and_grad(
            lambda *args: total(jrnn.scan(cell, *args, method=method)), (0, 1, 2)
        )
        assert_close(run("gated")(*args), run("scan")(*args), 1e-10)


ADDITIVE = [case for case in CASES if layouts.additive(case.cell)]


@pytest.mark.parametrize("case", ADDITIVE, ids=str)
def test_products_of_an_additive_cell_add_up(case):
    cell = case.cell
    with jax.enable_x64(True):
        params, _, xs = long_setting(cell)
        product = xs @ cell.input_kernel(params)
        v = randomise(product, 5)
        expected = cell.combine(params, cell.project(params, xs), v)
        biases = cell.project(params, jnp.zeros(F))
        assert_close(cell.combine(params, biases, product + v), expected, 1e-12)
