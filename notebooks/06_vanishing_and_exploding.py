# %% [markdown]
# # Vanishing and exploding gradients
#
# An unfolded network of 100 steps is a feed-forward network of 100 layers. The gradient through many layers is a product of
# many Jacobians, so it tends to vanish or to explode. You will see both in networks of one unit and of many, then in an
# Elman network (the simple recurrent network), a GRU and an LSTM. And you will see why an LSTM with open forget gates
# keeps its gradient. The notebook takes about half a minute on two CPU cores.

# %%
try:
    import jrnn
except ImportError:  # opened alone, for example in a hosted service
    import subprocess
    import sys

    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", "jrnn[viz]"])
    import jrnn

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from jrnn import diagnostics
from jrnn.diagnostics import plots

FAST = bool(os.environ.get("JRNN_FAST"))  # smaller sizes, for tests
plt.style.use(plots.STYLE)

# %% [markdown]
# ## One number, fifty times
#
# In a linear network of one unit, $h_t = w h_{t-1} + x_t$. Each step multiplies the gradient by $w$, so
# $\partial h_{50} / \partial h_0 = w^{50}$. With $w = 0.8$ this is about $10^{-5}$, and with $w = 2.3$ it is about $10^{18}$.
# The vertical axis of the picture is logarithmic, so each power is a straight line.

# %%
unit = jrnn.Elman(1, activation=jrnn.activations.identity, bias=False)


def by_lag(w):
    params = jrnn.cells.ElmanParams(jnp.ones((1, 1)), jnp.full((1, 1), w), None)
    return diagnostics.gradient_by_lag(unit, params, None, jnp.ones((50, 1)))


fig, ax = plt.subplots()
for w in (0.8, 1.0, 2.3):
    curve = by_lag(w)
    ax.semilogy(curve, label=f"w = {w}")
    print(f"{w}^50 = {w**50:.3g}   gradient through 50 steps = {float(curve[50]):.3g}")
    np.testing.assert_allclose(curve[50], w**50, rtol=1e-4)
ax.set(xlabel="steps back from the loss", ylabel="gradient (relative)")
ax.set_title("Powers of a factor vanish or explode, except if it is one")
ax.legend()
plt.show()
assert by_lag(0.8)[50] < 2e-5 and by_lag(2.3)[50] > 1e18

# %% [markdown]
# ## A matrix instead of a number
#
# With many units, the factor is the Jacobian $\partial h_t / \partial h_{t-1}$. In a linear network it is the matrix
# $W_h^\top$ in every step, so the product is a power of the matrix. If $W_h$ is an orthogonal matrix times $\rho$, each
# step multiplies the norm of the gradient by exactly $\rho$. With tanh, its derivative is one more factor, which is at most
# one. So the solid line, with $\rho = 1$, falls below the dashed line with $\rho = 1$.

# %%
T, H = (40 if FAST else 100), 32
xs = jax.random.normal(jax.random.key(0), (T, H))
weigh = jax.random.normal(jax.random.key(1), (H,))


def loss(y):
    return y @ weigh


lag_norms = jax.jit(
    diagnostics.gradient_by_lag, static_argnums=0, static_argnames="loss"
)


def relative(cell, params):
    """Norms of the gradient by lag, [T + 1], where lag 0 is one."""
    norms = lag_norms(cell, params, None, xs, loss=loss)
    return np.asarray(norms / norms[0])


linear = jrnn.Elman(H, activation=jrnn.activations.identity, bias=False)
orthogonal = linear.init(jax.random.key(2), H)  # w_h is orthogonal
curves = {}
for rho in (0.9, 1.0, 1.1):
    params = orthogonal._replace(w_h=rho * orthogonal.w_h)
    curves[f"linear, ρ = {rho}"] = relative(linear, params)
    np.testing.assert_allclose(
        curves[f"linear, ρ = {rho}"], rho ** np.arange(T + 1.0), rtol=2e-3
    )
elman = jrnn.Elman(H)
curves["tanh, ρ = 1"] = relative(elman, elman.init(jax.random.key(2), H))

fig, ax = plt.subplots()
for name, curve in curves.items():
    ax.semilogy(curve, ls="-" if "tanh" in name else "--", label=name)
ax.set(
    xlabel="steps back from the loss",
    ylabel="gradient norm (relative)",
    ylim=(1e-9, 1e5),
)
ax.set_title("Each step multiplies the gradient by ρ; tanh makes it smaller")
fig.legend(*ax.get_legend_handles_labels(), loc="outside right")
plt.show()
assert (curves["tanh, ρ = 1"][5:] < 0.5 * curves["linear, ρ = 1.0"][5:]).all()

# %% [markdown]
# ## From every step to every earlier step
#
# The norm of $\partial h_t / \partial h_k$ is the largest factor by which a gradient can grow from step $t$ back to step
# $k$. The picture shows it for all pairs, for three networks before training. White means one: the gradient keeps its
# norm. Blue means that it vanishes, and red means that it may grow. The distance from the diagonal is the *lag* $t - k$.
# Compare the upper left corners, where the lag is largest: dark blue for Elman, light blue for the GRU, and light red for
# the LSTM.

# %%
span = 30 if FAST else 60
cells = {
    "Elman": jrnn.Elman(H),
    "GRU, bias 3": jrnn.GRU(H, forget_bias=3.0),
    "LSTM, bias 3": jrnn.LSTM(H, forget_bias=3.0),
}
pairs = jax.jit(diagnostics.jacobian_norms, static_argnums=0)
norms = {
    name: np.asarray(pairs(cell, cell.init(jax.random.key(3), H), None, xs[:span]))
    for name, cell in cells.items()
}

fig, axes = plt.subplots(1, 3, figsize=(8.2, 3), sharey=True)
for ax, (name, values) in zip(axes, norms.items(), strict=True):
    exponents = np.where(values > 0, np.log10(np.maximum(values, 1e-12)), np.nan)
    image = ax.imshow(exponents, cmap="RdBu_r", vmin=-4, vmax=4, origin="lower")
    ax.grid(visible=False)
    ax.set(xlabel="earlier step $k$", title=name)
axes[0].set_ylabel("later step $t$")
fig.colorbar(image, ax=axes, label="log10 of the norm", shrink=0.8)
fig.suptitle("Gates let gradients pass", x=0.01, ha="left", fontsize=11)
plt.show()

reach = {name: float(values[span, 0]) for name, values in norms.items()}
print(
    f"norm of dh_{span} / dh_0:",
    {name: f"{value:.2g}" for name, value in reach.items()},
)
for values in norms.values():
    assert (
        np.allclose(np.diag(values), 1) and not values[np.triu_indices(span, 1)].any()
    )
assert reach["Elman"] < 0.01 * reach["GRU, bias 3"]
assert reach["LSTM, bias 3"] > 0.1

# %% [markdown]
# ## Why the LSTM keeps its gradient
#
# The memory of an LSTM is updated by $c_t = f_t c_{t-1} + i_t g_t$. There is no weight matrix on the path from $c_{t-1}$
# to $c_t$. Along it, the factor of each step is the forget gate $f_t$, and the gate can be near one. The initial bias of
# the gate, its *forget bias*, determines its first value: the sigmoid of 0, 1 and 3 is 0.5, 0.73 and 0.95.
#
# The dotted lines are the product of the forget gates: the part of the gradient that takes this path only. The solid lines
# are the whole gradient. A larger bias lifts both. In the end each solid line is above its dotted line, because other
# paths, through $h_t$ and the weight matrix, add to the gradient.

# %%
lstms = {
    f"forget bias {bias}": jrnn.LSTM(H, forget_bias=bias) for bias in (0.0, 1.0, 3.0)
}
fig, ax = plt.subplots()
last, end_to_product = {}, {}
for color, (name, cell) in zip(plots.COLORS, lstms.items(), strict=False):
    params = cell.init(jax.random.key(4), H)
    curve = relative(cell, params)
    f = diagnostics.gates(cell, params, None, xs)["f"]
    path = np.exp(np.cumsum(np.mean(np.log(f[::-1]), axis=1)))
    ax.semilogy(curve, color=color, label=name)
    ax.semilogy(np.arange(1, T + 1), path, color=color, ls=":")
    last[name], end_to_product[name] = curve[20], curve[T] / path[-1]
ax.plot([], [], color="0.3", ls=":", label="product of forget gates")
ax.set(
    xlabel="steps back from the loss",
    ylabel="gradient norm (relative)",
    ylim=(1e-9, 1e2),
)
ax.set_title("Open forget gates keep the gradient of an LSTM")
fig.legend(*ax.get_legend_handles_labels(), loc="outside right")
plt.show()

print("after 20 steps:", {name: f"{value:.2g}" for name, value in last.items()})
assert last["forget bias 0.0"] < 1e-2 * last["forget bias 3.0"]
assert last["forget bias 0.0"] < last["forget bias 1.0"] < last["forget bias 3.0"]
print(
    f"gradient / product of forget gates, after {T} steps:",
    {name: f"{value:.2g}" for name, value in end_to_product.items()},
)
assert min(end_to_product.values()) > 2  # other paths add to it

# %% [markdown]
# ## The state mostly remembers recent inputs
#
# The same Jacobians determine what a state remembers. If $\partial h_t / \partial h_k$ is small, then an input at step $k$
# has hardly any influence on $h_t$. We change the first input of a sequence and look at the difference of the outputs
# $h_t$. In the picture, the difference of the Elman network falls to the rounding of float32, about $10^{-7}$. That of the
# LSTM stays.

# %%
other = xs.at[0].set(-xs[0])
fig, ax = plt.subplots()
left = {}
for name, cell in {
    "Elman": cells["Elman"],
    "LSTM, forget bias 3": cells["LSTM, bias 3"],
}.items():
    params = cell.init(jax.random.key(3), H)
    _, a = jrnn.scan(cell, params, None, xs)
    _, b = jrnn.scan(cell, params, None, other)
    distance = jnp.linalg.norm(a - b, axis=-1)
    left[name] = distance / distance[0]
    ax.semilogy(range(T), left[name], label=name)
ax.set(
    xlabel="steps after the changed input", ylabel="difference of outputs (relative)"
)
ax.set_title("An Elman network forgets the first input")
ax.legend()
plt.show()
assert left["Elman"][30] < 1e-2 < left["LSTM, forget bias 3"][30]

# %% [markdown]
# Gates make the problem smaller. They do not remove it: a forget gate below one still multiplies in every step. At 0.95, a
# memory loses half of its value in 14 steps.

# %%
typical = float(jax.nn.sigmoid(3.0))  # a gate with a forget bias of 3
print(f"forget gate {typical:.2f}; after 14 steps {typical**14:.2f}")
assert 0.45 < typical**14 < 0.55 and last["forget bias 3.0"] < 1

# %% [markdown]
# ## What to remember
#
# * The gradient through $t - k$ steps is a product of $t - k$ Jacobians. It tends to vanish or explode exponentially.
# * A network whose gradient does not reach an input does not remember that input either.
# * An LSTM has a path without a weight matrix, whose factors are its forget gates. A large forget bias opens it.
#
# Next: [clipping and truncation](07_clipping_and_truncation.ipynb). More: [gradients through
# time](../docs/gradients.md).
