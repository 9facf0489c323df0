"""The recorded cases of Haiku and Equinox, through the importers."""

import dataclasses

import jax
import jax.numpy as jnp

from jrnn.interop import equinox, haiku
from tests.conformance import recorded


def named(state, ys, expected):
    """Names the outputs as the case does: `state`, or `state0`, `state1`."""
    leaves = jax.tree.leaves(state)
    names = ["state"] if len(leaves) == 1 else [f"state{i}" for i in range(len(leaves))]
    found = {"y": ys} | dict(zip(names, leaves, strict=True))
    return {name: found[name] for name in expected}


@recorded.every("haiku")
def test_recorded_cases_of_haiku(path):
    case = recorded.load(path)
    recorded.honors(case, "core resets reverse shape", "x resets reset state")

    def run(weights, inputs):
        modules = {}
        for name, value in weights.items():
            module, _, leaf = name.removeprefix("p/").rpartition("/")
            modules.setdefault(module, {})[leaf] = value
        layer, params = haiku.from_params(modules)
        layer = dataclasses.replace(layer, reverse=case.config["reverse"])
        xs = jnp.swapaxes(inputs["x"], 0, 1)
        flags = inputs.get("resets", inputs.get("reset"))
        reset = None if flags is None else jnp.swapaxes(flags, 0, 1) != 0
        given = [jnp.asarray(inputs[k]) for k in sorted(inputs) if "state" in k]
        value = given[0] if len(given) == 1 else tuple(given)
        state = haiku.state_from_haiku(layer, value) if given else None
        state, ys = layer.apply(params, state, xs, reset=reset)
        return named(state, jnp.swapaxes(ys, 0, 1), case.outputs)

    with jax.enable_x64(True):
        recorded.replay(case, run)


@recorded.every("equinox")
def test_recorded_cases_of_equinox(path):
    case = recorded.load(path)
    recorded.honors(case, "cell", "x h0 c0")

    def run(weights, inputs):
        layer, params = equinox.from_params(weights)
        start = [inputs[name] for name in ("h0", "c0") if name in inputs]
        given = start[0] if len(start) == 1 else tuple(start)
        state = equinox.state_from_equinox(layer, given)
        state, ys = layer.apply(params, state, inputs["x"])
        return named(equinox.state_to_equinox(layer, state), ys, case.outputs)

    with jax.enable_x64(True):
        recorded.replay(case, run)
