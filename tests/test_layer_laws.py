"""Laws of all layers: streaming, holes in the mask, learned initial states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests.cases import B, F, H, T, assert_close, randomise, shapes

XS = randomise(np.zeros((B, T, F)), 3, scale=1.0)
# Padding on the left, on the right, and holes.
MASK = np.array([[0, 0, 1, 1, 0, 1, 1], [1, 0, 0, 1, 1, 1, 0]], bool)
RESET = np.array([[0, 0, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 1, 0]], bool)


def softmax_of_step(x):
    return jax.nn.softmax(x)


def scale_of_step(params, x):
    return params * x[::-1]


def scales(key, size, dtype):
    return jnp.ones(size, dtype)


CAUSAL = {
    "recurrent": jrnn.Recurrent(jrnn.GRU(H)),
    "linear": jrnn.Recurrent(jrnn.LRU(H)),
    "learned": jrnn.Recurrent(jrnn.LearnedState(jrnn.LSTM(H))),
    "dense": jrnn.Dense(H),
    "norm": jrnn.LayerNorm(),
    "dropout": jrnn.Dropout(0.5),
    "map": jrnn.Map(softmax_of_step),
    "map with parameters": jrnn.Map(scale_of_step, parameters=scales),
    "residual": jrnn.Residual(jrnn.Recurrent(jrnn.Elman(F))),
    "sequential": jrnn.Sequential(
        jrnn.Dense(4), jrnn.Recurrent(jrnn.LSTM(5)), jrnn.LayerNorm()
    ),
    "stack": jrnn.Stack(jrnn.LSTM(5), jrnn.GRU(2), dropout=0.5),
    "stack with skip": jrnn.Stack(jrnn.GRU(4), jrnn.Elman(2), jrnn.LSTM(5), skip=True),
}
LAYERS = CAUSAL | {
    "reverse": jrnn.Recurrent(jrnn.LSTM(H), reverse=True),
    "bidirectional": jrnn.Bidirectional(jrnn.GRU(H)),
    "deep": jrnn.Stack(jrnn.Bidirectional(jrnn.Elman(4)), jrnn.GRU(5), skip=True),
}


def drawn(layer, size=F):
    return randomise(shapes(layer, size), 1)


@pytest.mark.parametrize("layer", CAUSAL.values(), ids=CAUSAL)
def test_one_step_at_a_time_equals_the_whole_run(layer):
    params = drawn(layer)
    flags = {"mask": MASK, "reset": RESET}
    final, ys = layer.apply(params, None, XS, **flags)
    state, steps = layer.initial_state(params, (B,)), []
    for t in range(T):
        now = {name: flag[:, t : t + 1] for name, flag in flags.items()}
        state, y = layer.apply(params, state, np.asarray(XS)[:, t : t + 1], **now)
        steps.append(y)
    assert_close(np.concatenate(steps, axis=1), ys)
    assert_close(state, final)


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_padding_anywhere_is_as_if_it_was_cut_out(layer):
    params = drawn(layer)
    xs = np.where(MASK[..., None], XS, np.nan)

    def masked(params):
        state, ys = layer.apply(params, None, xs, mask=jnp.asarray(MASK))
        return jnp.sum(jnp.sin(ys[MASK])), (state, ys)

    def alone(params):
        rows = [layer.apply(params, None, xs[b][MASK[b]]) for b in range(B)]
        state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[r[0] for r in rows])
        ys = jnp.concatenate([ys for _, ys in rows])
        return jnp.sum(jnp.sin(ys)), (state, ys)

    grad, (state, ys) = jax.jit(jax.grad(masked, has_aux=True))(params)
    expected, (state_alone, ys_alone) = jax.jit(jax.grad(alone, has_aux=True))(params)
    assert_close(ys[MASK], ys_alone)
    assert_close(state, state_alone)
    assert_close(grad, expected)


@pytest.mark.parametrize("reverse", [False, True])
def test_padding_may_hold_the_last_output(reverse):
    cell = jrnn.GRU(H)
    params = drawn(cell)
    state = randomise(cell.initial_state(params, (B,)), 2)

    def run(params, at_padding):
        options = {"mask": jnp.asarray(MASK), "reverse": reverse}
        return jrnn.scan(cell, params, state, XS, at_padding=at_padding, **options)[1]

    zero, held = run(params, "zero"), run(params, "hold")
    index = np.zeros((B, T), int) - 1  # by a loop, in the order of the run
    for b in range(B):
        for t in reversed(range(T)) if reverse else range(T):
            before = t + 1 if reverse else t - 1
            last = index[b, before] if 0 <= before < T else -1
            index[b, t] = t if MASK[b, t] else last
    found = index >= 0
    rows = np.arange(B)[:, None]

    def expected(zero):
        return jnp.where(found[..., None], zero[rows, index], 0.0)

    assert_close(held, expected(zero))
    weights = randomise(jnp.zeros_like(zero), 5)
    held_loss = lambda p: jnp.sum(weights * run(p, "hold"))
    expected_loss = lambda p: jnp.sum(weights * expected(run(p, "zero")))
    actual = jax.jit(jax.grad(held_loss))(params)
    wanted = jax.jit(jax.grad(expected_loss))(params)
    assert_close(actual, wanted)
    layer = jrnn.Recurrent(cell, reverse=reverse, at_padding="hold")
    assert_close(layer.apply(params, state, XS, mask=jnp.asarray(MASK))[1], held)
    with pytest.raises(ValueError, match="at_padding must be one of"):
        jrnn.Recurrent(cell, at_padding="last")


@pytest.mark.parametrize("skip", [False, True])
def test_a_stack_is_its_layers_one_after_the_other(skip):
    cells = jrnn.LSTM(5), jrnn.GRU(2), jrnn.Elman(4)
    stack = jrnn.Stack(*cells, skip=skip)
    params = drawn(stack)

    def by_hand(params):
        ys, outputs = XS, []
        for n, (cell, p) in enumerate(zip(cells, params, strict=True)):
            below = jnp.concatenate([XS, ys], -1) if skip and n else ys
            ys = jrnn.scan(cell, p, None, below, lengths=jnp.array([3, T]))[1]
            outputs.append(ys)
        return jnp.concatenate(outputs, -1) if skip else ys

    def stacked(params):
        return stack.apply(params, None, XS, lengths=jnp.array([3, T]))[1]

    assert stack.output_size == stacked(params).shape[-1]
    assert_close(stacked(params), by_hand(params))
    grads = [
        jax.jit(jax.grad(lambda p, f=f: jnp.sum(jnp.sin(f(p)))))(params)
        for f in (stacked, by_hand)
    ]
    assert_close(*grads)


@pytest.mark.parametrize("locked", [False, True])
def test_a_stack_drops_features_between_layers_only(locked):
    both = jrnn.Stack(
        jrnn.Map(ones_of_step), jrnn.Map(ones_of_step), dropout=0.5, locked=locked
    )
    key = jax.random.key(1)
    _, ys = both.apply(((), ()), None, XS, key=key)
    assert set(np.unique(ys)) == {1.0}
    seen = jrnn.Stack(
        jrnn.Map(ones_of_step), jrnn.Map(same_of_step), dropout=0.5, locked=locked
    )
    _, ys = seen.apply(((), ()), None, XS, key=key)
    assert set(np.unique(ys)) == {0.0, 2.0}
    assert bool(np.all(ys == ys[:, :1])) == locked
    assert set(np.unique(seen.apply(((), ()), None, XS)[1])) == {1.0}


def ones_of_step(x):
    return jnp.ones_like(x)


def same_of_step(x):
    return x


def test_layers_of_a_stack_have_noise_of_their_own():
    half = jrnn.Dropout(0.5)
    stack = jrnn.Stack(half, jrnn.Map(ones_of_step), half, skip=True)
    _, ys = stack.apply(((),) * 3, None, jnp.ones((1, T, F)), key=jax.random.key(0))
    assert np.any(ys[..., :F] != ys[..., 2 * F : 3 * F])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: jrnn.Stack(), ValueError, "number of layers"),
        (lambda: jrnn.Stack(jrnn.GRU), TypeError, "Make an instance"),
        (lambda: jrnn.Stack(jrnn.GRU(2), dropout=1.0), ValueError, "Stack.dropout"),
        (lambda: jrnn.Stack(jrnn.GRU(2), skip=1), TypeError, "True or False"),
        (lambda: jrnn.Map(3), TypeError, "must be a function"),
        (lambda: jrnn.Map(abs, output_size=0), ValueError, "at least 1"),
        (
            lambda: jrnn.Map(jnp.sum).apply((), (), XS),
            ValueError,
            r"returned \[\] for one step",
        ),
        (
            lambda: jrnn.Map(abs, feature_axes=4).apply((), (), XS),
            ValueError,
            "4 feature axes",
        ),
        (
            lambda: jrnn.Stack(
                jrnn.Recurrent(jrnn.GRU(F), return_sequence=False),
                jrnn.Dense(2),
                skip=True,
            ).apply(drawn(jrnn.Stack(jrnn.GRU(F), jrnn.Dense(2), skip=True)), None, XS),
            ValueError,
            "one output per step",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_new_layers_are_plain_values():
    stack = jrnn.Stack(jrnn.GRU(2), dropout=0.5, skip=True)
    assert stack == jrnn.Stack(jrnn.Recurrent(jrnn.GRU(2)), dropout=0.5, skip=True)
    assert hash(stack) != hash(jrnn.Stack(jrnn.GRU(2)))
    assert repr(stack) == (
        "Stack(Recurrent(cell=GRU(hidden_size=2)), dropout=0.5, skip=True)"
    )
    assert repr(jrnn.Map(jnp.tanh)) == "Map(function=tanh)"


LEARNED = jrnn.LearnedState(jrnn.GRU(F))


@pytest.mark.parametrize(
    "run",
    [
        lambda p, **k: jrnn.scan(LEARNED, p, None, XS, **k)[1],
        lambda p, **k: jrnn.Recurrent(LEARNED).apply(p, None, XS, **k)[1],
        lambda p, **k: jrnn.Recurrent(LEARNED, reverse=True).apply(p, None, XS, **k)[1],
        lambda p, **k: jrnn.Stack(LEARNED).apply((p,), None, XS, **k)[1],
        lambda p, **k: jrnn.Residual(jrnn.Recurrent(LEARNED)).apply(p, None, XS, **k)[
            1
        ],
        lambda p, **k: jrnn.Bidirectional(LEARNED).apply(
            jrnn.layers.BidirectionalParams(p, p), None, XS, **k
        )[1],
        lambda p, **_: jrnn.step(LEARNED, p, None, XS[:, 0])[1],
    ],
    ids=["scan", "layer", "reverse", "stack", "residual", "both", "step"],
)
def test_a_learned_initial_state_is_learned_through_every_driver(run):
    params = drawn(LEARNED)
    for flags in ({}, {"mask": MASK}, {"reset": RESET}):
        grad = jax.grad(lambda p, f=flags: jnp.sum(run(p, **f)))(params)
        assert all(np.all(leaf != 0) for leaf in jax.tree.leaves(grad.state))


def test_a_reset_trains_a_learned_initial_state_on_chunks():
    params = drawn(LEARNED)
    xs = jnp.asarray(XS)

    def loss(params, state, chunk, key):
        state, ys = jrnn.scan(
            LEARNED, params, state, chunk.data, mask=chunk.mask, reset=first
        )
        return jnp.sum(jnp.sin(ys)), state

    first = jnp.zeros((B, T), bool).at[:, 0].set(True)
    chunks = jrnn.training.split_into_chunks(xs, length=T)
    state = LEARNED.initial_state(params, (B,))
    _, grad = jrnn.training.truncated_value_and_grad(loss)(params, state, chunks)
    whole = lambda p: jnp.sum(jnp.sin(jrnn.scan(LEARNED, p, None, xs)[1]))
    assert_close(grad, jax.jit(jax.grad(whole))(params))
