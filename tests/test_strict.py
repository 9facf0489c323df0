"""Nothing in the library relies on what JAX promotes, ignores or leaks silently.

A program is traced under the strict modes of JAX: no promotion of ranks or dtypes, no
leaked tracer, with 64 bits and without. Ranks and dtypes are checked when it is traced,
so nothing is compiled.
"""

import contextlib
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn import training
from tests.cases import CASES, B, Case, F, H, T

LENGTHS, MASK = np.array([3, T], np.uint8), np.arange(B * T).reshape(B, T) % 3 > 0
RESET = np.arange(B * T).reshape(B, T) % 4 == 1


@contextlib.contextmanager
def strict(wide):
    with (
        jax.numpy_rank_promotion("raise"),
        jax.numpy_dtype_promotion("strict"),
        jax.enable_x64(wide),
    ):
        yield


def total(tree):
    return sum(jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(tree))


def trace(function, *args):
    """Traces a function and its gradient with respect to the first argument."""
    jax.make_jaxpr(jax.grad(lambda *args: total(function(*args))))(*args)


def like(tree):
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), tree)


NARROW = [
    Case(jrnn.MixedPrecision(cell), None)
    for cell in (jrnn.LSTM(H), jrnn.GRU(H), jrnn.LRU(H), jrnn.ResetBeforeGRU(H))
]
CASES_32 = [case for case in CASES if "float64" not in str(case)] + NARROW
FLAGS = {"lengths": LENGTHS, "mask": MASK, "reset": RESET}


def setting(case):
    """Parameters and inputs, of 32 bits also where 64 are enabled."""
    size = case.features if len(case.features) > 1 else case.features[0]
    shapes = jax.eval_shape(
        lambda: case.cell.init(jax.random.key(0), size, jnp.float32)
    )
    return like(shapes), jnp.zeros((B, T, *case.features), jnp.float32)


@pytest.mark.parametrize("case", CASES_32, ids=str)
def test_cells(case):
    with strict(wide=False):
        params, xs = setting(case)
        options = {**FLAGS, "key": jax.random.key(0), "return_states": True}
        trace(lambda p: jrnn.scan(case.cell, p, None, xs, **options), params)


@pytest.mark.parametrize("case", CASES_32[::5], ids=str)
def test_other_options_of_a_scan(case):
    with strict(wide=False):
        params, xs = setting(case)
        run = lambda p, **options: jrnn.scan(case.cell, p, None, xs, **FLAGS, **options)
        trace(lambda p: run(p, key=jax.random.key(0), remat="sqrt"), params)
        trace(lambda p: run(p, method="scan", reverse=True), params)


def test_joint_matmuls_are_in_the_precision_of_the_cell():
    cell = jrnn.MixedPrecision(jrnn.LSTM(H))
    joint = jrnn.kernels.Gated(jrnn.kernels.Layout(T, joint=True))
    with strict(wide=False):
        params, xs = setting(Case(cell, None))
        trace(lambda p: jrnn.scan(cell, p, None, xs, method=joint), params)


@pytest.mark.parametrize(
    "inner",
    [
        jrnn.PeepholeLSTM(H),
        jrnn.LayerNormLSTM(H),
        jrnn.SLSTM(H),
        jrnn.ResetBeforeGRU(H),
        jrnn.SRU(H),
    ],
    ids=str,
)
def test_gates_are_in_the_precision_of_the_step(inner):
    cell = jrnn.MixedPrecision(inner)
    dtype = jnp.bfloat16 if isinstance(inner, jrnn.ResetBeforeGRU) else jnp.float32
    with strict(wide=False):
        params, xs = setting(Case(cell, None))
        show = lambda p: jrnn.diagnostics.gates(cell, p, None, xs)
        assert {a.dtype for a in jax.eval_shape(show, params).values()} == {
            jnp.dtype(dtype)
        }


@pytest.mark.parametrize("case", CASES[::5], ids=str)
def test_cells_where_64_bits_are_enabled(case):
    with strict(wide=True):
        params, xs = setting(case)
        options = {**FLAGS, "key": jax.random.key(0), "at_padding": "hold"}
        trace(lambda p: jrnn.scan(case.cell, p, None, xs, **options), params)


MODELS = {
    "sequential": jrnn.Sequential(
        jrnn.Embed(9, 4),
        jrnn.Dropout(0.5, locked=True),
        jrnn.LayerNorm(),
        jrnn.Bidirectional(jrnn.GRU(H), merge="mean"),
        jrnn.Residual(jrnn.Recurrent(jrnn.LSTM(H))),
        jrnn.Recurrent(jrnn.Elman(3), return_sequence=False),
        jrnn.Dense(9),
    ),
    "stack": jrnn.Sequential(
        jrnn.Embed(9, 4), jrnn.Stack(jrnn.GRU(5), jrnn.LRU(9), dropout=0.3, skip=True)
    ),
    "tied": jrnn.Tied(jrnn.Embed(9, 4), jrnn.Recurrent(jrnn.GRU(4))),
}


@pytest.mark.parametrize("wide", [False, True], ids=["32 bits", "64 bits"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_models(model, wide):
    with strict(wide):
        key, ids = jax.random.key(0), np.zeros((B, T), np.uint8)
        params = like(jax.eval_shape(lambda: model.init(key, dtype=jnp.float32)))
        trace(lambda p: model.apply(p, None, ids, key=key, **FLAGS), params)


@pytest.mark.parametrize("wide", [False, True], ids=["32 bits", "64 bits"])
def test_decoding(wide):
    model = jrnn.Sequential(
        jrnn.Embed(9, 4),
        jrnn.Recurrent(jrnn.GRU(H)),
        jrnn.Attention(6, 5),
        jrnn.Dense(9),
    )
    with strict(wide):
        key, ids = jax.random.key(0), np.ones((B, T), np.uint8)
        params = like(jax.eval_shape(lambda: model.init(key, dtype=jnp.float32)))
        memory = jnp.ones((B, 3, 5), jnp.float32)
        params = jrnn.layers.attend_to(params, memory, lengths=np.array([2, 3], "u1"))
        options = {"key": key, "top_k": 3, "top_p": 0.5, "end": 2, "lengths": LENGTHS}
        run = lambda p: jrnn.generate(model, p, None, ids, 3, **options)
        jax.eval_shape(run, params)
        jax.eval_shape(lambda p: jrnn.generate(model, p, None, ids, 3), params)
        search = lambda p: jrnn.beam_search(model, p, None, ids, 3, end=2)
        jax.eval_shape(search, params)
        both = jrnn.EncoderDecoder(
            jrnn.Sequential(jrnn.Embed(9, 4), jrnn.Recurrent(jrnn.GRU(5))),
            model,
            0,
            "dense",
        )
        params = like(jax.eval_shape(lambda: both.init(key, dtype=jnp.float32)))
        flags = {"lengths": LENGTHS, "key": key, "target_lengths": LENGTHS}
        trace(lambda p: both.apply(p, ids, ids, **flags), params)
        trace(lambda p: both.apply(p, ids, ids, teacher_forcing=0.5, key=key), params)


METHODS = [
    training.BPTT(),
    training.TBPTT(2, 3),
    training.ARTBP(0.1),
    training.RTRL(every=2),
    training.SnAp1(),
    training.EProp(),
]


@pytest.mark.parametrize("wide", [False, True], ids=["32 bits", "64 bits"])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_gradient_methods(method, wide):
    with strict(wide):
        model = jrnn.Recurrent(jrnn.GRU(H))
        size = lambda: model.init(jax.random.key(0), F, jnp.float32)
        params, xs = like(jax.eval_shape(size)), jnp.zeros((B, T, F), jnp.float32)
        targets = np.zeros((B, T), np.uint8)
        key = jax.random.key(0) if "ARTBP" in str(method) else None
        gradient = training.value_and_grad(model, training.cross_entropy, method)
        flags = {"lengths": LENGTHS, "reset": RESET, "key": key}
        jax.eval_shape(lambda p: gradient(p, None, xs, targets, **flags), params)


OPTIMIZERS = {
    "optimizer": training.optimizer(optax.sgd(0.1, 0.9)),
    "zclip": training.optimizer(optax.chain(training.zclip(), optax.sgd(0.1))),
    "per layer": training.per_layer(training.clip_gradients(1.0)),
}


@pytest.mark.parametrize("wide", [False, True], ids=["32 bits", "64 bits"])
@pytest.mark.parametrize("tx", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_training(tx, wide):  # Adam of optax itself relies on promotion
    with strict(wide):
        params = (jnp.ones((3, 4), jnp.float32), jnp.ones(4, jnp.bfloat16))
        xs = jnp.ones((B, T, 3), jnp.float32)

        def loss(params, state, chunk, key):
            inputs, targets = chunk.data
            state = state + jnp.sum(inputs) * params[1].astype(jnp.float32)
            ys = inputs @ params[0] + state[None, None]
            error = training.squared_error(ys, targets, chunk.mask)
            return error + training.activation_penalty(ys, chunk.mask), state

        chunks = training.split_into_chunks((xs, jnp.zeros((B, T, 4), jnp.uint8)), 3)
        start = params, tx.init(params), jnp.zeros(4, jnp.float32), chunks
        jax.eval_shape(training.train_on_chunks(loss, tx), *start)
        folded = training.folded_loss(loss, loops=(2, 2))
        trace(lambda p: folded(p, start[2], chunks, jax.random.key(0)), params)


@pytest.mark.parametrize("wide", [False, True], ids=["32 bits", "64 bits"])
def test_clipping_of_real_and_complex_leaves(wide):
    with strict(wide):
        tx = training.optimizer(optax.sgd(0.1))
        params = {
            "w": jnp.full(2, 3.0, jnp.float32),
            "a": jnp.full(2, 4j, jnp.complex64),
        }
        updates, _ = jax.eval_shape(tx.update, params, tx.init(params), params)
        assert jax.tree.map(lambda u: u.dtype, updates) == jax.tree.map(
            lambda p: p.dtype, params
        )


@pytest.mark.skipif(
    "JRNN_WHOLE" not in os.environ, reason="takes a minute: JRNN_WHOLE=1"
)
def test_no_tracer_leaks():
    cell = jrnn.Zoneout(jrnn.LSTM(H), 0.1)
    with strict(wide=False), jax.checking_leaks():
        params, xs = setting(Case(cell, None))
        options = {**FLAGS, "key": jax.random.key(0)}
        trace(lambda p: jrnn.scan(cell, p, None, xs, **options), params)


def test_nothing_computes_nan_on_the_way():
    """NaN in the padding, an empty row and a zero gradient are no division by zero."""
    model = jrnn.Sequential(jrnn.LayerNorm(), jrnn.Recurrent(jrnn.LSTM(H)))
    xs = np.where(np.arange(T)[:, None] < 3, np.ones((B, T, F)), np.nan)
    params = model.init(jax.random.key(0), F)
    tx = training.optimizer(optax.chain(training.zclip(), optax.sgd(0.1)))

    def loss(params, xs):
        ys = model.apply(params, None, xs, lengths=np.array([3, 0]))[1]
        mask = jnp.zeros((B, T), bool)
        return training.squared_error(ys, jnp.zeros_like(ys), mask)

    with jax.debug_nans(True):
        zero = jax.jit(jax.grad(loss))(params, xs)
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(zero))
        tx.update(zero, tx.init(params))  # eager: every operation is checked
