"""Recorded cases of single cells: values and all gradients."""

import jax
import jax.numpy as jnp

import jrnn
from jrnn import cells
from tests.conformance import recorded


def minimal(case, weights, inputs):
    (w,) = weights.values()
    n, *gates = jnp.split(w.T, w.shape[0] // case.config["D"], axis=-1)
    kind = jrnn.MinGRU if case.config["cell"] == "mingru" else jrnn.MinLSTM
    cell = kind(case.config["D"], activation=jrnn.activations.positive, bias=False)
    params = cells.InputGatedParams(jnp.concatenate([*gates, n], axis=-1), None)
    state, ys = jrnn.scan(cell, params, None, inputs["x"])
    return {"y": ys, "h_n": state.h[:, None]}


def rglru(case, weights, inputs):
    gates = [("a_gate", "input_gate"), ("w", "b")]
    w, b = ([weights[f"{gate}/{leaf}"] for gate in gates[0]] for leaf in gates[1])
    cell = jrnn.RGLRU(case.config["width"], case.config["heads"], first_unscaled=True)
    params = cells.RGLRUParams(
        decay=weights["a_param"],
        w_x=jnp.concatenate(w, axis=-1),
        b_x=jnp.concatenate([leaf.ravel() for leaf in b]),
    )
    state = cells.RGLRUState(inputs["h0"], jnp.zeros_like(inputs["h0"]))
    reset = inputs["segment_pos"] == 0
    state, ys = jrnn.scan(cell, params, state, inputs["x"], reset=reset)
    return {"y": ys, "h_n": state.h}


def s5(case, weights, inputs):
    assert case.config["conj_sym"] and not case.config["bidirectional"]
    cell = jrnn.S5(case.config["P"], case.config["H"], case.config["discretization"])
    params = cells.S5Params(
        log_decay=weights["log_neg_re"],
        frequency=weights["im"],
        log_step=weights["log_step"],
        b_re=weights["B_re"].T,
        b_im=weights["B_im"].T,
        c_re=weights["C_re"].T,
        c_im=weights["C_im"].T,
        d=jnp.zeros(case.config["H"]),
    )
    return {"y": jrnn.scan(cell, params, None, inputs["u"])[1]}


def slstm(case, weights, inputs):
    heads, size = case.config["heads"], case.config["head_dim"]
    cell = jrnn.SLSTM(heads * size, heads)
    params = cells.SLSTMParams(
        w_x=jnp.eye(4 * heads * size),  # the case records projected inputs
        w_h=jnp.swapaxes(weights["R"], 1, 2),
        b_x=weights["b"],
    )
    xs = inputs["Wx"]
    state, ys = jrnn.scan(cell, params, None, xs, time_major=True)
    return {"y": ys, "last_c": state.c, "last_n": state.n, "last_m": state.m}


def mlstm(case, weights, inputs):
    heads, size = case.config["heads"], case.config["head_dim"]
    cell = jrnn.MLSTM(heads * size, heads)
    parts = [
        jnp.moveaxis(inputs[name], 1, 2).reshape(*inputs["q"].shape[::2][:1], -1, width)
        for name, width in [
            *((n, heads * size) for n in "qkv"),
            ("i", heads),
            ("f", heads),
        ]
    ]
    xs = jnp.concatenate(parts, axis=-1)  # the case records projected inputs
    eye = jnp.eye(xs.shape[-1])
    params = cells.MLSTMParams(
        w_qkv=eye[:, : 3 * heads * size],
        w_if=eye[:, 3 * heads * size :],
        b_if=jnp.zeros(2 * heads),
        w_o=jnp.zeros((xs.shape[-1], heads * size)),
        b_o=jnp.full(heads * size, 50.0),  # an output gate of one
    )
    state, ys = jrnn.scan(cell, params, None, xs)
    ys = jnp.moveaxis(ys.reshape(*ys.shape[:-1], heads, size), 2, 1)
    return {
        "h": ys,
        "c": state.c,
        "n": state.n[..., None],
        "m": state.m[..., None, None],
    }


RUNS = {
    "mingru": minimal,
    "minlstm": minimal,
    "RG-LRU": rglru,
    "S5": s5,
    "slstm": slstm,
    "mlstm": mlstm,
}


@recorded.every("cells")
def test_recorded_cases_of_cells(path):
    case = recorded.load(path)
    run = RUNS[case.config["cell"]]
    with jax.enable_x64(True):
        recorded.replay(case, lambda weights, inputs: run(case, weights, inputs))
