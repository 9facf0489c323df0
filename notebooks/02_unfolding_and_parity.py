# %% [markdown]
# # Unfolding, and parity with other libraries
#
# A recurrent network has a cycle. Unfolded in time, it is a feed-forward network with one layer per time step, and all
# layers use the same weights. This notebook shows that a Python loop, `jax.lax.scan` and the unrolled graph compute the
# same outputs, and reproduces shapes and values that lecture notes show for Keras and PyTorch.

# %%
import jax
import jax.numpy as jnp
import numpy as np

import jrnn

# %% [markdown]
# ## Three ways to write one network
#
# $$h_t = \tanh(x_t W_x + b + h_{t-1} W_h)$$

# %%
T, F, H = 6, 3, 4
cell = jrnn.Elman(hidden_size=H)
params = cell.init(jax.random.key(0), F)
xs = jax.random.normal(jax.random.key(1), (T, F))


def by_loop(params, xs):
    """The definition: a loop over time steps that carries h."""
    h, ys = jnp.zeros(H), []
    for x in xs:
        h = jnp.tanh(x @ params.w_x + params.b_x + h @ params.w_h)
        ys.append(h)
    return jnp.stack(ys)


def by_lax_scan(params, xs):
    """The same step in a compiled loop."""

    def step(h, x):
        h = jnp.tanh(x @ params.w_x + params.b_x + h @ params.w_h)
        return h, h

    return jax.lax.scan(step, jnp.zeros(H), xs)[1]


def by_jrnn(params, xs, **options):
    return jrnn.scan(cell, params, None, xs, **options)[1]


loop, scanned, ours = by_loop(params, xs), by_lax_scan(params, xs), by_jrnn(params, xs)
print(
    "largest difference:", float(max(abs(loop - scanned).max(), abs(loop - ours).max()))
)

# %% [markdown]
# Tracing the Python loop unfolds it, so the traced program grows with T. The scan contains one copy of the step for
# any T.

# %%


def equations(f, steps):
    """The number of operations in the traced program; a loop body counts once."""
    return str(jax.make_jaxpr(f)(params, jnp.ones((steps, F)))).count("= ")


for steps in (4, 16, 64):
    print(
        f"T = {steps:3d}   unfolded: {equations(by_loop, steps):4d}   scan: {equations(by_lax_scan, steps):4d}"
    )

# %% [markdown]
# All layers use the same weights, so the gradient of a weight is the *sum* over the layers of the unfolded network. (Some
# notes say that it is the average, which is wrong.) To check it, give every layer its own copy of the recurrent weights.

# %%


def unshared(copies):
    h = jnp.zeros(H)
    for x, w_h in zip(xs, copies, strict=True):
        h = jnp.tanh(x @ params.w_x + params.b_x + h @ w_h)
    return jnp.sum(h)


per_layer = jax.grad(unshared)(jnp.stack([params.w_h] * T))
shared = jax.grad(lambda w: jnp.sum(by_jrnn(params._replace(w_h=w), xs)[-1]))(
    params.w_h
)
print("largest difference:", float(abs(per_layer.sum(0) - shared).max()))

# %% [markdown]
# One matrix or two? Multiplying the concatenated vector $[x, h]$ by one matrix is the same network.

# %%
both = jnp.concatenate([params.w_x, params.w_h])  # [F + H, H]
h = jnp.zeros(H)
for x in xs:
    h = jnp.tanh(jnp.concatenate([x, h]) @ both + params.b_x)
print("largest difference:", float(abs(h - ours[-1]).max()))

# %% [markdown]
# ## The shapes of Keras
#
# 32 sequences of 10 elements with 8 features; a `SimpleRNN(4)` returns the last output `(32, 4)`, or the whole
# sequence `(32, 10, 4)`, or that and the last state.

# %%
inputs = jax.random.normal(jax.random.key(2), (32, 10, 8))
simple = jrnn.Elman(4, scheme="keras")
weights = simple.init(jax.random.key(0), 8)
state, last = jrnn.scan(simple, weights, None, inputs, return_sequence=False)
_, whole = jrnn.scan(simple, weights, None, inputs)
print(last.shape, whole.shape, state.h.shape)

# %% [markdown]
# ## The values of PyTorch
#
# The notes run `nn.RNN(5, 2)` on `[[1]*5, [2]*5, [3]*5]` after `torch.manual_seed(1)`. These are the weights that PyTorch
# drew. With `separate_biases=True`, the cell has two biases like PyTorch.

# %%
w_ih = jnp.array(
    [
        [0.3643461, -0.31210154, -0.13708077, 0.33189395, -0.6656964],
        [0.42406413, -0.14546975, 0.35973623, 0.09829985, -0.08658109],
    ]
)
w_hh = jnp.array([[0.19612378, 0.03488284], [0.2582553, -0.27556023]])
b_ih = jnp.array([-0.051554278, -0.06365894])
b_hh = jnp.array([0.10249085, -0.002824766])
printed = np.array(
    [[-0.3519801, 0.52525216], [-0.68424344, 0.76074266], [-0.8649416, 0.90466356]]
)

torch_cell = jrnn.Elman(2, separate_biases=True, scheme="torch")
torch_params = jrnn.cells.ElmanParams(w_x=w_ih.T, w_h=w_hh.T, b_x=b_ih, b_h=b_hh)
sequence = jnp.array([[1.0] * 5, [2.0] * 5, [3.0] * 5])
_, outputs = jrnn.scan(torch_cell, torch_params, None, sequence)
for t, (y, expected) in enumerate(zip(outputs, printed, strict=True)):
    print(f"step {t}: jrnn {np.asarray(y)}   PyTorch {expected}")

# %% [markdown]
# ## Checks

# %%
assert jnp.allclose(loop, scanned, atol=1e-6) and jnp.allclose(loop, ours, atol=1e-6)
assert equations(by_lax_scan, 4) == equations(by_lax_scan, 64)
assert equations(by_loop, 64) > 10 * equations(by_loop, 4)
assert jnp.allclose(per_layer.sum(0), shared, atol=1e-5)
assert jnp.allclose(h, ours[-1], atol=1e-6)
assert jnp.allclose(by_jrnn(params, xs, unroll=T), ours, atol=1e-6)
assert (last.shape, whole.shape, state.h.shape) == ((32, 4), (32, 10, 4), (32, 4))
assert jnp.allclose(whole[:, -1], last)
np.testing.assert_allclose(outputs, printed, atol=2e-7)
