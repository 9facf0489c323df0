# %% [markdown]
# # Backpropagation through time, by hand
#
# You will compute the gradient of a recurrent network with the formula of the lecture notes, one term for each pair of
# steps. The sum of all terms is what `jax.grad` returns. The notebook takes about fifteen seconds on two CPU cores.

# %%
try:
    import jrnn
except ImportError:  # opened alone, for example in a hosted service
    import subprocess
    import sys

    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", "jrnn[viz]"])
    import jrnn

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from jrnn import diagnostics
from jrnn.diagnostics import plots

plt.style.use(plots.STYLE)

# %% [markdown]
# ## The network and its loss
#
# The network has hidden units and an output layer, and every step has a loss of its own: the squared distance of the output
# $o_t$ from a target $y_t$. The total loss is their sum:
#
# $$h_t = \tanh(x_t W_{xh} + h_{t-1} W_{hh} + b_h), \qquad o_t = h_t W_{ho} + b_o, \qquad L = \sum_{t=1}^{T} L_t,
# \quad L_t = \tfrac12 \lVert o_t - y_t \rVert^2$$
#
# The forward pass computes all $h_t$ and $o_t$. The backward pass needs them, so they are kept: `return_states=True`
# returns the state of every step.

# %%
T, I, H, O = 8, 3, 5, 2
model = jrnn.Sequential(jrnn.Recurrent(jrnn.Elman(H)), jrnn.Dense(O))
params = model.init(jax.random.key(0), I)
cell, (hidden, output) = jrnn.Elman(H), params
xs = jax.random.normal(jax.random.key(1), (T, I))
targets = jax.random.normal(jax.random.key(2), (T, O))


def losses(params):
    """L_1, ..., L_T."""
    _, outputs = model.apply(params, None, xs)
    return 0.5 * jnp.sum((outputs - targets) ** 2, axis=-1)


_, (_, states) = jrnn.scan(cell, hidden, None, xs, return_states=True)
hs = np.concatenate([np.zeros((1, H)), states.h])  # hs[t] is h_t, and h_0 is zero
_, outputs = model.apply(params, None, xs)

w_hh, w_ho = np.asarray(hidden.w_h), np.asarray(output.w)
assert np.allclose(hs[1:] @ w_ho + np.asarray(output.b), outputs, atol=1e-5)

# %% [markdown]
# ## One Jacobian, and products of them
#
# The notes write the gradient of the loss at step $t$ as
#
# $$\frac{\partial L_t}{\partial W_{hh}} = \frac{\partial L_t}{\partial o_t} \, \frac{\partial o_t}{\partial h_t}
# \sum_{k=1}^{t} \frac{\partial h_t}{\partial h_k} \, \frac{\partial^{+} h_k}{\partial W_{hh}}, \qquad
# \frac{\partial h_t}{\partial h_k} = \prod_{i=k+1}^{t} \frac{\partial h_i}{\partial h_{i-1}}.$$
#
# $W_{hh}$ is used in every step. $\partial^{+}$ is the derivative with respect to its use in step $k$ only, with $h_{k-1}$
# held fixed. The Jacobian of one step is $\partial h_i / \partial h_{i-1} = \mathrm{diag}(1 - h_i^2) \, W_{hh}^\top$, with
# one row for each element of $h_i$. `diagnostics.jacobian_product` computes the product too.

# %%


def one_step(i):
    """dh_i / dh_i-1."""
    return np.diag(1 - hs[i] ** 2) @ w_hh.T


def through(t, k):
    """dh_t / dh_k: the product over i = k + 1, ..., t."""
    product = np.eye(H)
    for i in range(k + 1, t + 1):
        product = one_step(i) @ product
    return product


for t, k in ((8, 7), (8, 3), (5, 5)):
    theirs = diagnostics.jacobian_product(cell, hidden, None, xs, t=t, k=k)
    assert np.allclose(through(t, k), theirs, atol=1e-5)

# %% [markdown]
# With one unit, you can check the values by hand. With $w = 0.5$ and inputs 1, 0, 0, the states are 0.762, 0.363 and 0.180,
# and $\partial h_3 / \partial h_1$ is a product of two factors $w (1 - h_i^2)$.

# %%
single = jrnn.Elman(1, bias=False)
one = jrnn.cells.ElmanParams(jnp.ones((1, 1)), jnp.full((1, 1), 0.5), None)
_, small = jrnn.scan(single, one, None, jnp.array([[1.0], [0.0], [0.0]]))
factors = 0.5 * (1 - small[1:, 0] ** 2)
print("states", small[:, 0], " factors", factors, " product", jnp.prod(factors))
np.testing.assert_allclose(small[:, 0], [0.7615942, 0.3633995, 0.1797263], atol=1e-6)
np.testing.assert_allclose(jnp.prod(factors), 0.20997625, atol=1e-7)

# %% [markdown]
# ## All terms
#
# There is one term for each pair $k \le t$: the effect of the use of $W_{hh}$ in step $k$ on the loss at step $t$.

# %%
terms = np.zeros((T + 1, T + 1, H, H))  # [t, k] from 1
for t in range(1, T + 1):
    loss_by_output = np.asarray(outputs[t - 1] - targets[t - 1])  # dL_t / do_t
    loss_by_state = loss_by_output @ w_ho.T  # times do_t / dh_t
    for k in range(1, t + 1):
        loss_by_earlier = loss_by_state @ through(t, k)  # times dh_t / dh_k
        slope = loss_by_earlier * (1 - hs[k] ** 2)  # through tanh in step k
        terms[t, k] = np.outer(hs[k - 1], slope)  # times d+h_k / dW_hh

by_loss = jax.jacrev(losses)(params)[0].w_h  # [T, H, H], one gradient for each L_t
whole = jax.grad(lambda p: losses(p).sum())(params)[0].w_h
for t in range(1, T + 1):
    assert np.allclose(terms[t].sum(axis=0), by_loss[t - 1], atol=1e-4)
assert np.allclose(terms.sum(axis=(0, 1)), whole, atol=1e-4)
print(
    "largest difference from jax.grad:",
    abs(terms.sum(axis=(0, 1)) - np.asarray(whole)).max(),
)

# %% [markdown]
# The picture shows the norm of every term; white means zero. A loss does not depend on later steps, so the terms with
# $k > t$ are zero. The first column is zero because $h_0 = 0$. Follow one row from the diagonal to the left: the distance
# $t - k$ grows, and most terms become smaller. The gradient mostly comes from recent steps.

# %%
sizes = np.linalg.norm(terms[1:, 1:], axis=(-2, -1))
fig, ax = plt.subplots(figsize=(5.2, 3.8))
shown = np.where(sizes > 0, sizes, np.nan)
image = ax.imshow(shown, cmap="viridis", norm="log", origin="lower")
ax.grid(visible=False)
ax.set_xticks(range(T), range(1, T + 1))
ax.set_yticks(range(T), range(1, T + 1))
ax.set(xlabel="step $k$ in which $W_{hh}$ is used", ylabel="step $t$ of the loss")
ax.set_title("The terms of the gradient, for each pair of steps")
fig.colorbar(image, ax=ax, label="norm of the term")
plt.show()

assert not sizes[np.triu_indices(T, 1)].any() and not sizes[:, 0].any()
near = np.mean([sizes[t, t] for t in range(1, T)])
far = np.mean([sizes[t, t - 5] for t in range(6, T)])
print(f"mean norm: distance 0 {near:.3f}, distance 5 {far:.4f}")
assert far < 0.3 * near

# %% [markdown]
# ## The backward pass does not compute all pairs
#
# There are $T (T + 1) / 2$ pairs, each with a product of matrices. Backpropagation needs one pass instead, because terms
# with the same $k$ share their factors. It starts at the last step, goes back to the first, and carries
# $\delta_t = \partial L / \partial h_t$, the sum over the losses at $t$ and all later steps. This is what `jax.grad` does.

# %%
delta, gradient = np.zeros(H), np.zeros((H, H))
for t in reversed(range(1, T + 1)):
    delta += np.asarray(outputs[t - 1] - targets[t - 1]) @ w_ho.T  # the loss at t
    slope = delta * (1 - hs[t] ** 2)
    gradient += np.outer(hs[t - 1], slope)
    delta = w_hh @ slope  # one step back
assert np.allclose(gradient, whole, atol=1e-4)

# %% [markdown]
# `diagnostics.gradient_terms` computes the contribution of each step for the loss at the last step, for any cell. The
# bars compare it with the last row of the picture above: each pair of bars is equal.


# %%
def last_loss(h):
    return 0.5 * jnp.sum((h @ output.w + output.b - targets[-1]) ** 2)


last = diagnostics.gradient_terms(cell, hidden, None, xs, loss=last_loss).w_h
assert np.allclose(last, terms[T, 1:], atol=1e-4)
assert np.allclose(last.sum(axis=0), by_loss[-1], atol=1e-4)

fig, ax = plt.subplots()
steps = np.arange(1, T + 1)
ax.bar(steps - 0.2, sizes[-1], 0.4, label="by hand")
ax.bar(steps + 0.2, jnp.linalg.norm(last, axis=(1, 2)), 0.4, label="gradient_terms")
ax.set(xlabel="step $k$ in which $W_{hh}$ is used", ylabel="norm of the term of $L_T$")
ax.set_title("The last loss depends mostly on recent steps")
ax.legend()
plt.show()
assert sizes[-1].argmax() >= T // 2

# %% [markdown]
# ## What to remember
#
# * The gradient is a sum over pairs of steps: the step of the loss, and the step in which the weight is used.
# * Each term contains a product of Jacobians, one for each step between the two.
# * Backpropagation through time computes the sum in one backward pass, and `jax.grad` of a scan is exactly that.
#
# Next: [products that vanish or explode](06_vanishing_and_exploding.ipynb). More: [gradients through
# time](../docs/gradients.md).
