# %% [markdown]
# # Parallel in time
#
# “A recurrent network cannot be parallelized, because each step needs the last.” You will see when this is false and when
# it is true. A linear recurrence of 512 steps is computed in 18 levels of parallel operations. A GRU is computed for all
# steps at once, by Newton's method. A chaotic network needs its loop. The notebook takes about twenty seconds on two CPU
# cores.

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
import textwrap

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from jrnn import diagnostics
from jrnn.diagnostics import plots

FAST = bool(os.environ.get("JRNN_FAST"))  # smaller sizes, for tests
plt.style.use(plots.STYLE)
jax.config.update("jax_enable_x64", True)  # errors down to 1e-16 are visible

# %% [markdown]
# ## Two steps are one step
#
# Take a recurrence that is linear in the state, $h_t = a_t h_{t-1} + b_t$. Insert one step into the next:
#
# $$h_{t+1} = a_{t+1} (a_t h_{t-1} + b_t) + b_{t+1} = (a_{t+1} a_t)\, h_{t-1} + (a_{t+1} b_t + b_{t+1})$$
#
# Two steps are a step of the same kind, with the factor $a_{t+1} a_t$ and the addend $a_{t+1} b_t + b_{t+1}$. Neither
# depends on a state. So all pairs of steps can be composed at the same time, then all pairs of pairs, and so on. The
# states after 2, 4, 6, ... steps follow from the composed steps, and one more step from each gives the other states.

# %%
widths = []  # number of steps that each level computes at the same time


def tree(a, b):
    """Computes all states of h_t = a_t h_{t-1} + b_t, for 2^m steps from zero."""
    if len(a) == 1:
        return b
    widths.append(len(a) // 2)  # up: compose pairs
    second = tree(a[1::2] * a[::2], a[1::2] * b[::2] + b[1::2])
    widths.append(len(a) // 2)  # down: one step from each known state
    before = jnp.concatenate([jnp.zeros_like(b[:1]), second[:-1]])
    first = a[::2] * before + b[::2]
    return jnp.stack([first, second], axis=1).reshape(b.shape)


def loop(a, b):
    """Computes the same, one step after the other."""
    h, hs = 0 * b[0], []
    for t in range(len(a)):
        h = a[t] * h + b[t]
        hs.append(h)
    return jnp.stack(hs)


T = 512
a = jax.random.uniform(jax.random.key(0), (T, 3), minval=-1.0)
b = jax.random.normal(jax.random.key(1), (T, 3))

hs = jax.jit(tree)(a, b)
levels = np.array(widths)
np.testing.assert_allclose(hs, loop(np.asarray(a), np.asarray(b)), atol=1e-12)
np.testing.assert_allclose(hs, jrnn.linear_recurrence(a, b), atol=1e-12)
print("the tree, the loop and jrnn.linear_recurrence agree")

# %% [markdown]
# Suppose that a machine computes each operation as soon as its inputs are ready, any number at the same time. Its time is
# then given by the longest chain of additions in the program, in which each addition needs the one before. The picture
# shows the number of steps that each level computes at the same time.


# %%
def longest_chain(function, *arguments):
    """Counts additions on the longest path through a program."""
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    depth = {}
    for equation in jaxpr.eqns:
        inputs = [v for v in equation.invars if not hasattr(v, "val")]  # no literals
        here = max([depth.get(v, 0) for v in inputs], default=0)
        here += equation.primitive.name == "add"
        depth.update(dict.fromkeys(equation.outvars, here))
    return max(depth[v] for v in jaxpr.outvars)


in_tree, in_loop = longest_chain(tree, a, b), longest_chain(loop, a, b)
print(f"longest chain for {T} steps: loop {in_loop}, tree {in_tree}")
print(f"steps computed: loop {T}, tree {levels.sum()}")
assert in_loop == T
assert in_tree == len(levels) == 2 * np.log2(T) == 18
assert levels.sum() == 2 * (T - 1)

up = len(levels) // 2
fig, ax = plt.subplots()
ax.bar(np.arange(1, 19), levels, color=["C0"] * up + ["C1"] * up)
ax.text(2.6, 120, "up: compose pairs", color="C0")
ax.text(15.4, 60, "down: one step from each", color="C1", ha="right")
ax.set_xticks(range(1, 19))
ax.set(xlabel="level", ylabel="steps computed at once")
ax.set_title("512 steps take 18 levels, 9 up and 9 down")
plt.show()

# %% [markdown]
# The tree computes about twice as many steps as the loop, but its longest chain has 18 additions instead of 512. So for
# cells that are linear in the state, such as `jrnn.LRU` and `jrnn.MinGRU`, the sentence at the top is false.
#
# ## A cell that is not linear
#
# A GRU is not linear in the state, and composing two of its steps gives no GRU step. But the states of all steps solve one
# system of equations, $h_t = f(h_{t-1}, x_t)$ for $t = 1 \dots T$. Newton's method solves it from a guess $g$: replace $f$
# by its tangent at the guess,
#
# $$h_t = f(g_{t-1}, x_t) + J_t\, (h_{t-1} - g_{t-1}), \qquad J_t = \partial f / \partial h \text{ at } g_{t-1}$$
#
# This is a linear recurrence in $h$, with the factors $J_t$, and a tree computes all its steps. Its solution is the next
# guess. All $f$ and $J_t$ of one iteration are independent of each other.


# %%
def network(cell, gain, seed, steps):
    """Draws random recurrent weights of a gain, and inputs."""
    rng = np.random.default_rng(seed)
    params = cell.init(jax.random.key(0), 8, jnp.float64)
    draw = rng.standard_normal(params.w_h.shape) / np.sqrt(8)
    params = params._replace(
        w_h=jnp.asarray(gain * draw),
        w_x=jnp.asarray(rng.standard_normal(params.w_x.shape) / np.sqrt(8)),
    )
    return params, jnp.asarray(rng.standard_normal((steps, 8)))


cell = jrnn.GRU(hidden_size=8)


@jax.jit
def newton(params, guess, xs):
    """Returns the next guess for the states of all time steps."""

    def f(h, x):
        state = cell.initial_state(params)._replace(h=h)
        return jrnn.step(cell, params, state, x)[0].h

    before = jnp.concatenate([jnp.zeros_like(guess[:1]), guess[:-1]])
    jacobians = jax.vmap(jax.jacfwd(f))(before, xs)  # [T, H, H]
    addends = jax.vmap(f)(before, xs) - jnp.einsum("tij,tj->ti", jacobians, before)
    return jrnn.linear_recurrence(jacobians[:, None], addends[:, None])[:, 0]


def errors(params, xs, iterations):
    """Returns the error of each step, after 0, 1, ... iterations."""
    _, right = jrnn.scan(cell, params, None, xs, method="scan")
    guess, found = jnp.zeros_like(right), []
    for _ in range(iterations + 1):
        found.append(np.abs(guess - right).max(axis=-1))
        guess = newton(params, guess, xs)
    return np.array(found)


K, T = 24, 64
predictable, chaotic = network(cell, 1.0, 0, T), network(cell, 8.0, 2, T)
error = [errors(*predictable, K), errors(*chaotic, K)]

# %% [markdown]
# The guess starts at zero. After one iteration the first state is exact, because it depends on the initial state only.
# Then the second is, and so on: after $k$ iterations the first $k$ states are exact, in every network. So $T$ iterations
# suffice, up to rounding. That alone would be no gain over a loop. But if errors decay over time, all steps converge
# together.
#
# In the picture, dark means a small error, and the states on the left of the dashed line are exact. In the predictable
# network, all time steps are dark after five iterations. In the chaotic network, only those on the left of the line are.

# %%
fig, axes = plt.subplots(1, 2, sharey=True, figsize=(7.2, 3.4))
for ax, found, name in zip(axes, error, ("predictable", "chaotic"), strict=True):
    image = ax.imshow(
        np.maximum(found, 1e-16),
        norm=plt.matplotlib.colors.LogNorm(1e-16, 1.0),
        cmap="viridis",
        origin="lower",
        aspect="auto",
        extent=(0.5, T + 0.5, -0.5, K + 0.5),
    )
    ax.plot([0.5, K + 0.5], [0, K], color="white", ls="--", lw=1.2)
    ax.grid(visible=False)
    ax.set(xlabel="time step $t$", title=f"{name} GRU")
axes[0].set_ylabel("Newton iterations $k$")
axes[1].annotate(
    "exact on the left\nof the line",
    (12, 14),
    (28, 14),
    arrowprops={"arrowstyle": "->"},
    va="center",
    fontsize=9,
)
fig.colorbar(image, ax=axes, extend="max", label="largest error of $h_t$")
fig.suptitle("If errors decay, all steps converge together", x=0.02, ha="left")
plt.show()

for found in error:
    for k in range(K + 1):
        assert found[k, :k].max(initial=0.0) < 1e-12
needed = int(np.argmax(error[0].max(axis=1) < 1e-10))
print(f"predictable: all errors are below 1e-10 after {needed} iterations")
print(f"chaotic: the largest error after {K} iterations is {error[1][-1].max():.0f}")
assert 1 < needed <= 6
assert error[1][-1].max() > 1

# %% [markdown]
# In jrnn this is `method="parallel"`. It works for every cell. Iterations end when the residual
# $|h_t - f(h_{t-1}, x_t)| / (1 + |h_t|)$ is small, so you do not choose their number. `jrnn.parallel_info` reports it. Here
# it hardly depends on the length of the sequence.

# %%
STEPS = 128
most = jrnn.kernels.Parallel(max_iterations=STEPS)
counted = {}
for steps in (STEPS, 512):
    params, xs = network(cell, 1.0, 0, steps)
    info = jrnn.parallel_info(cell, params, None, xs, method=most)
    assert info.converged.all()
    counted[steps] = int(info.iterations.max())
print("iterations by number of steps:", counted)
assert max(counted.values()) <= 6
assert abs(counted[512] - counted[STEPS]) <= 1

_, by_steps = jrnn.scan(cell, params, None, xs, method="scan")
_, at_once = jrnn.scan(cell, params, None, xs, method="parallel")
np.testing.assert_allclose(at_once, by_steps, atol=1e-10)

# %% [markdown]
# ## When it fails
#
# When do errors decay? The *largest Lyapunov exponent* is the mean rate, per step, at which a small change of the state
# grows. Below zero, changes decay, and the network is predictable. Above zero, they grow, and the network is chaotic.
# `jrnn.diagnostics.parallelizable` computes the exponent and counts the iterations. We draw networks with small and with
# large recurrent weights: the *gain* multiplies them. In the picture, each point is a network. Follow the points from left
# to right: the number of iterations grows from 4 to about the number of steps.

# %%
found = {}
for gain in (0.5, 1.0, 2.0, 4.0, 8.0):
    found[f"gain {gain:g}"] = [
        diagnostics.parallelizable(cell, *network(cell, gain, seed, STEPS), method=most)
        for seed in ((0, 2) if FAST else range(8))
    ]

fig, ax = plt.subplots()
plots.parallelizable(found, ax=ax)
ax.axhline(STEPS, color="0.4", ls="--", lw=1)
ax.text(ax.get_xlim()[0], STEPS * 0.9, " steps of the loop", color="0.3", va="top")
ax.set(xlabel="largest Lyapunov exponent (nats per step)", ylabel="Newton iterations")
ax.set_title("Near an exponent of zero, the number of iterations grows")
plt.show()

results = [r for of_gain in found.values() for r in of_gain]
exponents = np.array([float(r.exponent) for r in results])
iterations = np.array([r.iterations for r in results])
assert iterations[exponents < -0.3].max() <= 8
assert iterations[exponents > -0.01].min() >= 40
assert exponents.max() > 0

# %% [markdown]
# Far below zero, a few iterations are enough. Near zero, dozens are needed, and the method has no advantage over a loop.
# The exponent is a mean over time, so it predicts the number only roughly. That is why jrnn counts iterations and checks
# the residual. If a network does not converge in `max_iterations`, jrnn computes its states step by step. That takes more
# time, and the result is still right.

# %%
few = jrnn.kernels.Parallel(max_iterations=K)
params, xs = chaotic
_, by_steps = jrnn.scan(cell, params, None, xs, method="scan")
_, at_once = jrnn.scan(cell, params, None, xs, method=few)
info = jrnn.parallel_info(cell, params, None, xs, method=few)
wrong = np.abs(at_once - by_steps).max()
spectrum = diagnostics.lyapunov_spectrum(cell, params, None, xs, exponents=1)
print(f"largest exponent: {spectrum.exponents[0]:.2f}")
print(
    "converged:", bool(info.converged.all()), "- iterations:", int(info.iterations[0])
)
print(f"largest error: Newton alone {error[1][K].max():.0f}, jrnn.scan {wrong:.0e}")
assert spectrum.exponents[0] > 0
assert not info.converged.any()
assert wrong < 1e-6

# %% [markdown]
# ## What it costs
#
# This notebook measures no time. The tree has few levels, but each computes more: composing two steps of $H$ units
# multiplies two Jacobians, about $H^3$ multiplications, while one step of a loop takes about $H^2$. A CPU computes only a few
# operations at once, so a loop is faster there, as the [table of times](../docs/parallel.md) shows. The method helps on
# devices that are mostly idle while they compute one small step. Cells such as `jrnn.ParaGRU` have diagonal Jacobians, so
# they avoid the $H^3$. By default, jrnn does not choose Newton's method for a GRU:

# %%
H, used = cell.hidden_size, counted[512]
in_a_loop = 512 * 3 * H**2  # three gates
in_trees = used * 2 * 511 * H**3  # the products of Jacobians alone
print(f"multiplications: loop {in_a_loop}, {used} trees {in_trees}")
print(textwrap.fill(found["gain 1"][0].why, 80))
assert in_trees > 10 * in_a_loop
assert found["gain 1"][0].method != "parallel"

# %% [markdown]
# A linear recurrence has another disadvantage: it can express less. With gates that read the input only, it cannot compute
# for all lengths whether the number of ones so far is odd. A nonlinear cell learns this task, called
# [parity](../docs/parallel.md).
#
# ## A model without a recurrence
#
# The Transformer has replaced recurrent networks in many tasks. It is a feed-forward network without a state. Its *attention*
# layer returns, for each step, a weighted mean of all inputs so far. No output needs another output, so all of them are
# computed at once, by a program without a loop. The disadvantage: to continue a sequence, it needs all earlier inputs,
# while a recurrent network needs only its state, which has the same size after any number of steps.


# %%
def attention(xs):
    """Returns weighted means of the inputs up to each step, [T, features]."""
    scores = jnp.where(jnp.tri(len(xs)) > 0, xs @ xs.T, -jnp.inf)
    return jax.nn.softmax(scores) @ xs


_, xs = network(cell, 1.0, 0, 512)
changed = xs.at[300:].set(0.0)
np.testing.assert_allclose(attention(xs)[:300], attention(changed)[:300])
program = str(jax.make_jaxpr(attention)(xs))
assert "scan" not in program and "while" not in program  # no loop
print(f"to continue after 512 steps: attention needs {xs.size} values, a GRU {H}")
assert xs.size == 512 * 8 and H == 8

# %% [markdown]
# ## What to remember
#
# * Two linear steps are one linear step, so $T$ of them take $2 \log_2 T$ levels.
# * Any other cell is a system of equations for all states. Newton's method solves it in a few linear recurrences if errors
#   decay.
# * A chaotic network, and in practice a CPU, needs the loop. The result is the same in every case.
#
# Next: [on several devices](13_devices.ipynb). More: [all time steps at once](../docs/parallel.md).
