"""PyTorch's recorded cases, through the importer: values and every gradient."""

import jax
import jax.numpy as jnp

from jrnn.interop import torch
from tests.conformance import recorded


@recorded.every("torch")
def test_recorded_cases_of_pytorch(path):
    case = recorded.load(path)
    names = "kind nonlinearity batch_first unbatched lengths"
    read = "layers bias bidirectional dropout proj_size h0"  # from the weights
    recorded.honors(case, f"{names} {read}", "x h0 c0 lengths")
    assert case.config.get("dropout", 0.0) == 0.0
    single = case.config["kind"].endswith("cell")

    def run(weights, inputs):
        nonlinearity = case.config.get("nonlinearity", "tanh")
        layer, params = torch.from_state_dict(weights, nonlinearity)
        return (
            run_cell(layer, params, inputs)
            if single
            else run_layer(layer, params, inputs, case.config)
        )

    with jax.enable_x64(True):
        recorded.replay(case, run)


def initial(layer, inputs, axes):
    """The initial state that a case gives, if any, with an axis for the layers."""
    if "h0" not in inputs:
        return None
    states = [inputs[name] for name in ("h0", "c0") if name in inputs]
    return torch.state_from_torch(layer, *(s if axes else s[None] for s in states))


def named(names, states):
    return {k: v for k, v in zip(names, states, strict=True) if v is not None}


def run_layer(layer, params, inputs, config):
    major = not (config["batch_first"] or config.get("unbatched"))
    swap = lambda a: jnp.swapaxes(a, 0, 1) if major else a
    state, ys = layer.apply(
        params,
        initial(layer, inputs, True),
        swap(inputs["x"]),
        lengths=inputs.get("lengths"),
    )
    states = torch.state_to_torch(layer, state)
    return {"y": swap(ys)} | named(["h_n", "c_n"], states)


def run_cell(layer, params, inputs):
    state, ys = layer.apply(
        params, initial(layer, inputs, False), inputs["x"][..., None, :]
    )
    states = [s if s is None else s[0] for s in torch.state_to_torch(layer, state)]
    return named(["h1", "c1"], states)
