"""Flax's recorded cases, Linen and NNX, through the importers."""

import dataclasses

import jax
import jax.numpy as jnp

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


def run_module(layer, params, inputs, config):
    """Applies a layer as `RNN` of Flax would, whatever differs in the outputs included.

    Flax returns reversed sequences in the order of the loop, and what follows the end
    of a sequence is whatever the cell makes of the padding.
    """
    reverse = (config.get("rnn") or {}).get("reverse", False)
    if reverse:
        layer = dataclasses.replace(layer, reverse=True)
    xs, lengths = inputs["x"], inputs.get("lengths")
    state, ys = layer.apply(params, None, xs, lengths=lengths)
    if lengths is not None:
        _, ys = layer.apply(params, None, xs)
    if reverse and not config["rnn"].get("keep_order", False):
        ys = jnp.flip(ys, 1)
    return state, ys


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

    def run(weights, inputs):
        spatial = case.config.get("spatial")
        layer, params = flax.from_linen_params(nested(weights), spatial=spatial)
        state, ys = run_module(layer, params, inputs, case.config)
        return named(layer, state, ys, case.outputs)

    with jax.enable_x64(True):
        recorded.replay(case, run)


@recorded.every("flax_nnx")
def test_recorded_cases_of_nnx(path):
    case = recorded.load(path)

    def run(weights, inputs):
        layer, params = flax.from_nnx_params(nested(weights))
        state, ys = run_module(layer, params, inputs, case.config)
        return named(layer, state, ys, case.outputs)

    with jax.enable_x64(True):
        recorded.replay(case, run)


def test_a_bidirectional_case_is_recognized():
    ones = {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}
    tree = {"cell": {"i": ones, "h": {"kernel": jnp.ones((4, 4))}}}
    both = {"forward_rnn": tree, "backward_rnn": tree}
    layer, _ = flax.from_linen_params({"params": both})
    assert layer == jrnn.Bidirectional(jrnn.Elman(4))
