"""Flax's recorded cases, Linen and NNX, through the importers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.interop import flax
from tests.conformance import recorded


def nested(weights):
    """Builds a tree from names such as `cell/hn/kernel`."""
    tree = {}
    for name, value in weights.items():
        *path, leaf = name.split("/")
        at = tree
        for part in path:
            at = at.setdefault(part, {})
        at[leaf] = value
    return tree


def run_module(layer, params, inputs, options):
    """Applies a layer as `RNN` of Flax would, whatever differs in the outputs included.

    In reverse, Flax turns each row around within its length, and what is padding within
    the rest, and returns outputs in the order of the loop unless it keeps it. What
    follows the end of a row is whatever the cell makes of the padding.
    """
    known = {"reverse", "keep_order", "time_major"}
    assert set(options) <= known, f"{options} names more than {known}"
    major, reverse = options.get("time_major", False), options.get("reverse", False)
    swap = lambda a: jnp.swapaxes(a, 0, 1) if major else a
    xs, lengths = swap(inputs["x"]), inputs.get("lengths")
    carry = [inputs[name] for name in sorted(inputs) if name.startswith("carry")]
    given = carry[0] if len(carry) == 1 else tuple(carry)
    start = flax.state_from_flax(layer, given) if carry else None
    turn = functools.partial(turned, lengths=lengths) if reverse else lambda a: a
    xs = turn(xs)
    state, ys = layer.apply(params, start, xs, lengths=lengths)
    if lengths is not None:
        _, ys = layer.apply(params, start, xs)
    return state, swap(turn(ys) if options.get("keep_order", False) else ys)


def turned(a, lengths):
    """Turns the first `lengths` steps of each row around, and the others."""
    rows, time = a.shape[:2]
    lengths = jnp.full(rows, time) if lengths is None else jnp.asarray(lengths)
    steps = (time - 1 - jnp.arange(time)[None] + lengths[:, None]) % time
    return jnp.take_along_axis(a, steps.reshape(rows, time, *(1,) * (a.ndim - 2)), 1)


def named(layer, state, ys, expected):
    """Names the outputs as the case does: `carry`, or `carry0`, `carry1`."""
    if "carry" in expected or "carry0" in expected:
        carry = jax.tree.leaves(flax.state_to_flax(layer, state))
        names = ["carry"] if len(carry) == 1 else ["carry0", "carry1"]
        return {"y": ys} | dict(zip(names, carry, strict=True))
    return {"y": ys}


@recorded.every("flax_linen")
def test_recorded_cases_of_linen(path):
    case = recorded.load(path)
    names = "cell features bidirectional lengths rnn spatial"
    recorded.honors(case, names, "x lengths carry")

    def run(weights, inputs):
        spatial = case.config.get("spatial")
        layer, params = flax.from_linen_params(nested(weights), spatial=spatial)
        state, ys = run_module(layer, params, inputs, case.config.get("rnn") or {})
        return named(layer, state, ys, case.outputs)

    with jax.enable_x64(True):
        recorded.replay(case, run)


@recorded.every("flax_nnx")
def test_recorded_cases_of_nnx(path):
    case = recorded.load(path)
    recorded.honors(case, "cell bidirectional lengths rnn", "x lengths carry")

    def run(weights, inputs):
        layer, params = flax.from_nnx_params(nested(weights))
        state, ys = run_module(layer, params, inputs, case.config.get("rnn") or {})
        return named(layer, state, ys, case.outputs)

    with jax.enable_x64(True):
        recorded.replay(case, run)


def test_a_bidirectional_case_is_recognized():
    ones = {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}
    tree = {"cell": {"i": ones, "h": {"kernel": jnp.ones((4, 4))}}}
    both = {"forward_rnn": tree, "backward_rnn": tree}
    layer, _ = flax.from_linen_params({"params": both})
    assert layer == jrnn.Bidirectional(jrnn.Elman(4))


def test_reverse_with_lengths_is_what_flax_computes():
    nn = pytest.importorskip("flax.linen")
    xs, lengths = jax.random.normal(jax.random.key(0), (3, 6, 2)), jnp.array([6, 2, 3])
    carry = jax.random.normal(jax.random.key(2), (3, 4))
    for options in (
        {"reverse": True},
        {"reverse": True, "keep_order": True},
        {"time_major": True},
    ):
        module = nn.RNN(nn.GRUCell(4), return_carry=True, **options)
        x = xs.swapaxes(0, 1) if "time_major" in options else xs
        call = {"seq_lengths": lengths, "initial_carry": carry}
        tree = module.init(jax.random.key(1), x, **call)
        expected = module.apply(tree, x, **call)
        layer, params = flax.from_linen_params(tree)
        inputs = {"x": x, "lengths": lengths, "carry": carry}
        state, ys = run_module(layer, params, inputs, options)
        close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
        close(ys, expected[1])
        close(flax.state_to_flax(layer, state), expected[0])
