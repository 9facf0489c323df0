# %% [markdown]
# # Gradients through time
#
# Backpropagation through time is the chain rule on the unfolded network. The gradient from step $t$ to step $k$ is a
# product of $t - k$ Jacobians, so it tends to vanish or explode. This notebook measures this, and then clips and
# truncates the gradient.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import jrnn
from jrnn import training

FAST = bool(os.environ.get("JRNN_FAST"))
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## A product of Jacobians
#
# With $h_t = \tanh(w h_{t-1} + x_t)$ and one unit, each Jacobian is $w (1 - h_t^2)$.

# %%
w = 0.5
xs = jnp.array([1.0, 0.0, 0.0])


def unfold(h, xs):
    hs = []
    for x in xs:
        h = jnp.tanh(w * h + x)
        hs.append(h)
    return jnp.stack(hs)


hs = unfold(jnp.array(0.0), xs)
product = jnp.prod(w * (1 - hs[1:] ** 2))
direct = jax.grad(lambda h: unfold(h, xs[1:])[-1])(hs[0])
print("h =", hs, "  dh3/dh1 =", product, "=", direct)

# %% [markdown]
# The gradient of the recurrent weights is a sum of such terms over all earlier steps,
#
# $$\frac{\partial L_t}{\partial W} = \frac{\partial L_t}{\partial h_t} \sum_{k=1}^{t}
# \Big(\prod_{i=k+1}^{t} \frac{\partial h_i}{\partial h_{i-1}}\Big) \frac{\partial^+ h_k}{\partial W},$$
#
# where $\partial^+$ is the derivative with respect to the use of $W$ in step $k$ only. We compare the sum with `jax.grad`:

# %%
T, F, H = 8, 3, 5
cell = jrnn.Elman(H)
params = cell.init(jax.random.key(0), F)
data = jax.random.normal(jax.random.key(1), (T, F))
target = jnp.arange(1.0, H + 1)


def last_loss(w_h):
    state, _ = jrnn.scan(cell, params._replace(w_h=w_h), None, data)
    return state.h @ target


_, (_, states) = jrnn.scan(cell, params, None, data, return_states=True)
before = jnp.concatenate([jnp.zeros((1, H)), states.h[:-1]])
sensitivity, terms = target, []  # dL/dh_t, carried backward by Jacobians
for k in reversed(range(T)):
    slope = sensitivity * (1 - states.h[k] ** 2)
    terms.append(jnp.outer(before[k], slope))
    sensitivity = params.w_h @ slope
whole = jax.grad(last_loss)(params.w_h)
print("largest difference:", float(abs(sum(terms) - whole).max()))
print(
    "size of the terms, latest step first:",
    np.array([float(jnp.linalg.norm(t)) for t in terms]).round(4),
)

# %% [markdown]
# ## Vanishing and exploding
#
# In a linear network, the product is a power of $W$. If $W$ is an orthogonal matrix times $\rho$, the gradient changes by
# exactly the factor $\rho$ at every step. The derivative of tanh is at most one, so with tanh the gradient shrinks faster.
# In an LSTM with open forget gates, it flows along the memory.

# %%
lags = 40 if FAST else 100
units = 32


def gradient_by_lag(cell, params):
    """Norm of d(loss at the end) / d(input), by distance from the end."""
    xs = jax.random.normal(jax.random.key(5), (lags, units))
    weigh = jax.random.normal(jax.random.key(6), (units,))
    slope = jax.grad(lambda xs: jrnn.scan(cell, params, None, xs)[1][-1] @ weigh)(xs)
    return np.array(jnp.linalg.norm(slope, axis=-1))[::-1]


curves = {}
for rho in (0.9, 1.0, 1.1):
    linear = jrnn.Elman(units, activation=jrnn.activations.identity, bias=False)
    p = linear.init(jax.random.key(2), units)
    curves[f"linear, ρ = {rho}"] = gradient_by_lag(
        linear, p._replace(w_h=rho * p.w_h, w_x=jnp.eye(units))
    )
for name, c in {
    "tanh": jrnn.Elman(units),
    "LSTM, forget bias 3": jrnn.LSTM(units, forget_bias=3.0),
}.items():
    curves[name] = gradient_by_lag(c, c.init(jax.random.key(2), units))

fig, ax = plt.subplots(figsize=(7, 3.6))
for name, curve in curves.items():
    ax.semilogy(
        curve / curve[0],
        lw=2 if "ρ" not in name else 1.2,
        ls="--" if "ρ" in name else "-",
        label=name,
    )
ax.set(xlabel="steps before the loss", ylabel="gradient, relative", ylim=(1e-12, 1e6))
ax.legend(frameon=False, fontsize=8, ncol=2)
ax.set_title("How far a gradient reaches")
plt.show()

# %% [markdown]
# ## Clipping
#
# The direction of an exploding gradient is useful, but its norm is too large. Clipping the norm keeps the direction. A
# gradient that is not finite has no direction: the step is skipped and counted.

# %%
clip = training.clip_gradients(1.0)
clipped, report = clip.update(jnp.array([30.0, 40.0]), clip.init(None))
print("clipped:", clipped, "  norm before:", report.norm)

tx = training.optimizer(optax.adam(0.1))
weights = jnp.array([1.0, 2.0])
updates, after = tx.update(jnp.array([1.0, jnp.nan]), tx.init(weights), weights)
print("update:", updates, "  skipped:", int(after.skipped))

# %% [markdown]
# ## Truncation
#
# If a sequence is split into chunks, the gradient stops at each border, but the state is carried on. The gradients of the
# linear example $h_t = w h_{t-1} + x_t$ with $w = 1/2$ and four inputs of one can be checked by hand.

# %%


def toy(w, state, chunk, key):
    """The loss is a weighted sum of the states; the weights are part of the data."""
    del key
    loss = 0.0
    for x, weight, valid in zip(*chunk.data, chunk.mask, strict=True):
        state = jnp.where(valid, w * state + x, state)
        loss += jnp.where(valid, weight * state, 0)
    return loss, state


truncated = {}
for length in (4, 3, 2, 1):
    chunks = training.split_into_chunks(
        (jnp.ones(4), jnp.array([0.0, 0, 0, 1])), length, batch_axes=0
    )
    (value, final), slope = training.truncated_value_and_grad(toy)(
        jnp.array(0.5), jnp.array(0.0), chunks
    )
    truncated[length] = float(slope)
    print(f"chunks of {length}: state {float(final)}, gradient {float(slope)}")

# %% [markdown]
# The error of truncation depends on how far back the full gradient reaches. For the tanh network above, the angle between
# the truncated and the full gradient gets smaller as the chunks get longer.

# %%
steps = 24 if FAST else 48
inputs = jax.random.normal(jax.random.key(7), (steps, F))
goal = jax.random.normal(jax.random.key(8), (steps, H))


def chunk_loss(params, state, chunk, key):
    del key
    xs, ys = chunk.data
    state, out = jrnn.scan(cell, params, state, xs, mask=chunk.mask)
    return training.squared_error(out, ys, chunk.mask) * jnp.sum(chunk.mask), state


def flat(tree):
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


gradient = jax.jit(training.truncated_value_and_grad(chunk_loss))
lengths = (1, 2, 4, 8, steps)
pieces = {}
for length in lengths:
    start = cell.initial_state(params)
    _, slope = gradient(
        params, start, training.split_into_chunks((inputs, goal), length, batch_axes=0)
    )
    pieces[length] = flat(slope)
cosine = {
    k: float(g @ pieces[steps] / jnp.linalg.norm(g) / jnp.linalg.norm(pieces[steps]))
    for k, g in pieces.items()
}
for length, value in cosine.items():
    print(f"chunks of {length:2d}: cosine with the full gradient {value:.4f}")

# %% [markdown]
# ## Checks

# %%
np.testing.assert_allclose(hs, [0.7615942, 0.3633995, 0.1797263], atol=1e-6)
np.testing.assert_allclose([product, direct], 0.20997625, atol=1e-7)
assert jnp.allclose(sum(terms), whole, atol=1e-4)
for rho in (0.9, 1.0, 1.1):
    curve = curves[f"linear, ρ = {rho}"]
    np.testing.assert_allclose(curve[-1] / curve[0], rho ** (lags - 1), rtol=1e-3)
assert (
    curves["tanh"][-1] / curves["tanh"][0]
    < 1e-3 * curves["LSTM, forget bias 3"][-1] / curves["LSTM, forget bias 3"][0]
)
np.testing.assert_allclose(clipped, [0.6, 0.8], rtol=1e-6)
assert not updates.any() and int(after.skipped) == 1
assert truncated == {4: 2.75, 3: 1.75, 2: 2.5, 1: 1.75}
assert cosine[1] < cosine[8] < cosine[steps]
