"""Keras's recorded cases, through the importer: values and every gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrnn.interop import keras
from tests.conformance import recorded, two_states


def as_keras(ys, config, mask):
    """Turns outputs into what Keras returns: see the docstring of `from_weights`."""
    options = config["config"]
    if config["class_name"] == "Bidirectional" or not options["return_sequences"]:
        return ys
    if mask is not None and not options["zero_output_for_mask"]:
        order = mask[:, ::-1] if options["go_backwards"] else mask
        steps = jnp.where(order, jnp.arange(order.shape[1]), -1)
        last = jax.lax.cummax(steps, axis=1)  # the valid step at or before each
        ys = ys[:, ::-1] if options["go_backwards"] else ys
        held = jnp.take_along_axis(ys, jnp.maximum(last, 0)[..., None], axis=1)
        return jnp.where(last[..., None] < 0, 0, held)
    return ys[:, ::-1] if options["go_backwards"] else ys


def run_keras(weights, inputs, config):
    """Imports the weights; runs the layer on what precedes `x`, if any, and on `x`."""
    own = "TwoStatesRNNCell" in str(config)
    read = two_states.build if own else keras.from_weights
    layer, params = read(list(weights), config)
    initial = [jnp.asarray(inputs[k]) for k in sorted(inputs) if k.startswith("init")]
    state_from = two_states.state_from if own else keras.state_from_keras
    state = state_from(layer, initial) if initial else None
    mask = inputs.get("mask")
    for name in [*sorted(k for k in inputs if k.startswith("x_before")), "x"]:
        state, ys = layer.apply(params, state, inputs[name], mask=mask)
    states = state if own else keras.state_to_keras(layer, state)
    return as_keras(ys, config, mask), states


@recorded.every("keras")
def test_recorded_cases_of_keras(path):
    case = recorded.load(path)
    recorded.honors(case, "keras layer calls masked x_shape", "x mask init x_call")

    def run(weights, inputs):
        config = case.config["keras"]
        arrays = [weights[name] for name in case.weights]  # as `get_weights` orders
        if "y_call0" in case.outputs:  # recorded from the initial state each time
            calls = [{"x": inputs[f"x_call{i}"]} for i in range(case.config["calls"])]
            results = [run_keras(arrays, each, config)[0] for each in calls]
            return {f"y_call{i}": ys for i, ys in enumerate(results)}
        ys, states = run_keras(arrays, inputs, config)
        if "y_fwd" in case.outputs:
            return dict(zip(["y_fwd", "y_bwd"], ys, strict=True))
        found = {"y": ys} | {
            f"state{i}": s for i, s in enumerate(jax.tree.leaves(states))
        }
        return {name: found[name] for name in case.outputs}

    with jax.enable_x64(True):
        recorded.replay(case, run)


def linear(config):
    """Describes the cell that Keras's own tests define, `x W + h U`, as a SimpleRNN."""
    if isinstance(config, list):
        return [linear(each) for each in config]
    if not isinstance(config, dict):
        return config
    made = {name: linear(value) for name, value in config.items()}
    if made.get("class_name") == "OneStateRNNCell":
        made["class_name"] = "SimpleRNNCell"
        made["config"] |= {"activation": "linear", "use_bias": False}
    return made


@pytest.mark.without("jax_enable_x64", reason="the literals mix float32 and float64")
@recorded.every("keras_literals")
def test_literals_of_the_tests_of_keras(path):
    case = recorded.load(path)
    options = "keras layer output_path select_batch_row stateful_calls_before"
    recorded.honors(case, f"{options} call_kwargs", "x mask init x_before")
    assert not case.config["call_kwargs"]
    config = linear(case.config["keras"])
    if config["class_name"] == "TimeDistributed":
        pytest.skip("not a recurrent layer")
    ys, states = run_keras(case.weights.values(), case.inputs, config)
    pair = config["config"].get("merge_mode", "") is None
    value = list(ys) if pair else [ys, *states]
    where = case.config["output_path"].split(".")[1:]
    for index in where:
        value = value[int(index)]
    value = value if where else ys
    row = case.config["select_batch_row"]
    value = value if row == "all" else value[int(row)]
    recorded.close(case, "out/expected", np.asarray(value), case.outputs["expected"])
