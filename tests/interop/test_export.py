"""Exported artifacts: any batch and time, gradients, and no jrnn where they run."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import jrnn
from jrnn.interop.export import export_layer
from jrnn.storage import named_arrays
from tests.cases import B, F, H, T, assert_close, randomise, shapes

OPTIONS = {
    "plain": {},
    "lengths": {"lengths": True},
    "reverse": {"reverse": True, "mask": True, "reset": True},
    "last": {"lengths": True, "return_sequence": False},
    "last of all": {"return_sequence": False},
    "states": {"return_states": True},
    "unroll": {"unroll": 3},
    "remat": {"remat": "sqrt"},
    "key": {"key": True},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_scan_exports_with_symbolic_batch_and_time(name):
    b, t = export.symbolic_shape("b, t")
    cell = jrnn.GRU(H)
    params = randomise(shapes(cell, F), 1)
    axes = {"lengths": (b,), "mask": (b, t), "reset": (b, t)}
    flags = jnp.arange(B * T).reshape(B, T) % 3 > 0
    values = {"lengths": jnp.array([3, T]), "mask": flags, "reset": ~flags}
    how = dict(OPTIONS[name])
    if how.pop("key", False):
        how["key"] = jax.random.key(3)
    arrays = {n: values[n] for n in values if how.pop(n, False)}
    run = jax.jit(lambda p, xs, a: jrnn.scan(cell, p, None, xs, **a, **how))
    xs = randomise(np.zeros((B, T, F)), 2)
    likes = {n: jax.ShapeDtypeStruct(axes[n], a.dtype) for n, a in arrays.items()}
    made = export.export(run)(params, jax.ShapeDtypeStruct((b, t, F), xs.dtype), likes)
    assert_close(made.call(params, xs, arrays), run(params, xs, arrays))


CONSUMER = """
import sys
sys.modules["jrnn"] = None  # an import of it fails
import jax, jax.export, numpy as np
folder = sys.argv[1]
with open(folder + "/model.bin", "rb") as file:
    artifact = jax.export.deserialize(bytearray(file.read()))
given = dict(np.load(folder + "/inputs.npz"))

@jax.jit
def loss(weights, xs):
    state, ys = artifact.call(weights, xs, lengths=given["lengths"])
    return (ys * ys).sum(), (state, ys)

run = jax.value_and_grad(loss, (0, 1), has_aux=True)
weights = dict(np.load(folder + "/weights.npz"))
(_, (state, ys)), (slopes, slope) = run(weights, given["xs"])
slopes = {"d" + name: leaf for name, leaf in slopes.items()}
np.savez(folder + "/out.npz", ys=ys, xs=slope, **state, **slopes)
"""


def test_an_artifact_runs_where_jrnn_is_not_installed(tmp_path):
    model = jrnn.Sequential(
        jrnn.Recurrent(jrnn.LSTM(H)), jrnn.LayerNorm(), jrnn.Dense(2)
    )
    params = randomise(shapes(model, F), 1)
    xs = randomise(np.zeros((B, T, F)), 2)
    lengths = jnp.array([3, T], jnp.int32)
    made = export_layer(model, params, F, takes=["lengths"])
    (tmp_path / "model.bin").write_bytes(made.serialize(vjp_order=1))
    np.savez(tmp_path / "weights.npz", **named_arrays.flatten(params))
    np.savez(tmp_path / "inputs.npz", xs=xs, lengths=lengths)
    done = subprocess.run(
        [sys.executable, "-I", "-c", CONSUMER, tmp_path],
        env=os.environ | {"JAX_ENABLE_X64": str(jax.config.jax_enable_x64)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    out = dict(np.load(tmp_path / "out.npz"))

    @jax.jit
    def expected(params, xs):
        def loss(params, xs):
            state, ys = model.apply(params, None, xs, lengths=lengths)
            return jnp.sum(ys * ys), (state, ys)

        return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, xs)

    (_, (state, ys)), (slopes, slope) = expected(params, xs)
    wanted = {"ys": ys, "xs": slope, **named_arrays.flatten(state)}
    wanted |= {f"d{name}": leaf for name, leaf in named_arrays.flatten(slopes).items()}
    assert_close(out, wanted)


@pytest.mark.parametrize("cell", [jrnn.GRU(H), jrnn.LRU(H)], ids=str)
def test_a_faster_kernel_gives_way_to_symbolic_sizes(cell):
    layer = jrnn.Recurrent(cell)
    params = layer.init(jax.random.key(0), F)
    made = export_layer(layer, params, F)
    xs = randomise(np.zeros((B, T, F)), 2)
    _, ys = made.call(named_arrays.flatten(params), xs)
    assert_close(ys, jrnn.scan(cell, params, None, xs, method="scan")[1])


def test_an_artifact_continues_from_a_state_and_takes_ids():
    model = jrnn.Sequential(jrnn.Embed(5, F), jrnn.Recurrent(jrnn.GRU(H)))
    params = randomise(shapes(model), 1)
    made = export_layer(model, params, 0, takes=["state", "reset"])
    ids = jnp.array([[0, 4, 2, 3, 1, 0]], jnp.int32)
    weights, state = named_arrays.flatten(params), {"1.h": jnp.ones((1, H))}
    reset = jnp.zeros(ids.shape, bool).at[0, 4].set(True)
    for cut in (slice(0, 2), slice(2, 6)):
        state, ys = made.call(weights, ids[:, cut], state=state, reset=reset[:, cut])
    start = jrnn.cells.GRUState(jnp.ones((1, H)))
    final, expected = model.apply(params, ((), start), ids, reset=reset)
    assert_close((state["1.h"], ys), (final[1].h, expected[:, 2:]))


@pytest.mark.parametrize(
    "cell",
    [
        jrnn.Zoneout(jrnn.LSTM(H), rates=0.1),
        jrnn.LearnedState(jrnn.GRU(H)),
        jrnn.MixedPrecision(jrnn.LayerNormed(jrnn.LSTM(H))),
    ],
    ids=str,
)
def test_wrapped_cells_export(cell):
    layer = jrnn.Recurrent(cell)
    params = jax.eval_shape(lambda: layer.init(jax.random.key(0), F))
    made = export_layer(layer, params, F, takes=["state", "lengths", "mask", "reset"])
    assert [str(size) for size in made.out_avals[-1].shape] == ["b", "t", str(H)]


def test_a_layer_of_images_exports():
    layer = jrnn.Recurrent(jrnn.ConvLSTM(2, kernel_size=(3,), spatial=(5,)))
    params = randomise(shapes(layer, F), 1)
    xs = randomise(np.zeros((B, T, 5, F)), 2)
    _, ys = export_layer(layer, params, (5, F)).call(named_arrays.flatten(params), xs)
    assert_close(ys, layer.apply(params, None, xs)[1])


def test_a_kernel_asked_for_by_name_says_that_it_needs_sizes():
    layer = jrnn.Recurrent(jrnn.LRU(H), method="linear")
    params = layer.init(jax.random.key(0), F)
    with pytest.raises(ValueError, match="'linear' needs sizes that are numbers"):
        export_layer(layer, params, F)


def test_an_unknown_argument_is_refused():
    layer = jrnn.Recurrent(jrnn.GRU(H))
    params = layer.init(jax.random.key(0), F)
    with pytest.raises(ValueError, match="takes must be one of .*'lengths'"):
        export_layer(layer, params, F, takes=["length"])
