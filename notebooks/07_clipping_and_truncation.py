# %% [markdown]
# # Clipping and truncated backpropagation
#
# The last notebook showed gradients that vanish or explode. There are three solutions: gated cells such as the LSTM,
# gradient clipping, and truncated backpropagation. This notebook is about the last two. Clipping makes an exploding
# gradient small without changing its direction. Truncation stops the gradient after a number of steps, which saves memory
# and makes the gradient biased. You will see gradient descent with and without clipping, and how the bias depends on the
# window. The notebook takes about twenty seconds on two CPU cores.

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
import optax

from jrnn import training
from jrnn.diagnostics import plots

FAST = bool(os.environ.get("JRNN_FAST"))  # smaller sizes, for tests
plt.style.use(plots.STYLE)

# %% [markdown]
# ## Clipping keeps the direction
#
# If the norm of the gradient $g$ is larger than a maximum $m$, the gradient is scaled: $g \min(1, m / \lVert g \rVert)$. A
# gradient that is not finite has no direction. `training.optimizer` skips such an update and counts it.

# %%
clip = training.clip_gradients(1.0)
clipped, report = clip.update(jnp.array([30.0, 40.0]), clip.init(None))
print("clipped:", clipped, "  norm before:", report.norm)
np.testing.assert_allclose(clipped, [0.6, 0.8], rtol=1e-6)

tx = training.optimizer(optax.adam(0.1))
weights = jnp.array([1.0, 2.0])
updates, after = tx.update(jnp.array([1.0, jnp.nan]), tx.init(weights), weights)
print("update: ", updates, "  skipped:", int(after.skipped))
assert not updates.any() and int(after.skipped) == 1

# %% [markdown]
# ## A cliff
#
# A network of one unit, $h_t = w h_{t-1}$ with $h_0 = 1$, should end at $h_{20} = 1$. The loss $(h_{20} - 1)^2$ is nearly flat
# for $w < 1$. Above $w = 1$ it rises steeply, because $h_{20} = w^{20}$. Such a place is called a *cliff*. We start on it, at
# $w = 1.25$.
#
# In the picture, one update without clipping moves $w$ below -1000. The next gradient is not finite, so the line ends
# there. With clipping, each update is small, and $w$ reaches the minimum at 1.

# %%
unit = jrnn.Elman(1, activation=jrnn.activations.identity, bias=False)
start_state = jrnn.cells.ElmanState(h=jnp.ones(1))
no_input = jnp.zeros((20, 1))


@jax.jit
def cliff(w):
    params = jrnn.cells.ElmanParams(jnp.ones((1, 1)), jnp.full((1, 1), w), None)
    state, _ = jrnn.scan(unit, params, start_state, no_input)
    return (state.h[0] - 1.0) ** 2


slope = jax.jit(jax.grad(cliff))
np.testing.assert_allclose(slope(1.1), 2 * (1.1**20 - 1) * 20 * 1.1**19, rtol=1e-4)


def descend(tx, steps=30):
    w, paths = jnp.array(1.25), [1.25]
    opt_state = tx.init(w)
    for _ in range(steps):
        update, opt_state = tx.update(slope(w), opt_state, w)
        w = w + update
        paths.append(float(w))
    return np.array(paths)


paths = {
    "without clipping": descend(optax.sgd(0.01)),
    "norm clipped to 1": descend(training.optimizer(optax.sgd(0.01), clip=1.0)),
}
fig, ax = plt.subplots()
for name, path in paths.items():
    ax.plot(path, ".-", label=name)
ax.set_yscale("symlog", linthresh=2)
ax.axhline(1, color="0.3", ls="--", lw=1)
ax.text(30, 1.05, "minimum", color="0.3", ha="right", va="bottom")
ax.set(xlabel="update", ylabel="weight $w$")
ax.set_title("Without clipping, one update on the cliff moves the weight far away")
ax.legend(loc="lower right")
plt.show()

print("first gradient:", float(slope(1.25)))
assert abs(slope(1.25)) > 1000
assert paths["without clipping"][1] < -1000
assert not np.isfinite(paths["without clipping"][2:]).any()
assert abs(paths["norm clipped to 1"][-1] - 1) < 0.02

# %% [markdown]
# ## Truncation: the state is carried, the gradient stops
#
# A long sequence is split into chunks. The state is carried from chunk to chunk, so the outputs are those of the whole
# sequence. But the gradient stops at each border between chunks. The linear example $h_t = w h_{t-1} + x_t$ with $w = 1/2$
# and four inputs of one can be checked by hand: $h_4 = 1.875$, and the full gradient of $h_4$ is
# $h_3 + w h_2 + w^2 h_1 = 1.75 + 0.75 + 0.25 = 2.75$. A chunk keeps the terms of its own steps.

# %%
exact = jrnn.cells.ElmanParams(jnp.ones((1, 1)), jnp.full((1, 1), 0.5), None)


def last_state(params, state, chunk, key):
    """The loss is h_4: the weights of the steps, 0 or 1, are part of the data."""
    del key
    xs, weights = chunk.data
    state, ys = jrnn.scan(unit, params, state, xs, mask=chunk.mask)
    return jnp.sum(ys[:, 0] * weights), state


for length, expected in ((4, 2.75), (3, 1.75), (2, 2.5), (1, 1.75)):
    chunks = training.split_into_chunks(
        (jnp.ones((4, 1)), jnp.array([0.0, 0, 0, 1])), length, batch_axes=0
    )
    (value, final), gradient = training.truncated_value_and_grad(last_state)(
        exact, unit.initial_state(exact), chunks
    )
    state, slope_of_w = float(final.h[0]), float(gradient.w_h[0, 0])
    print(f"chunks of {length}: state {state}, gradient {slope_of_w}")
    assert state == 1.875 and slope_of_w == expected

# %% [markdown]
# With chunks of 3, the last chunk has only one step, so its gradient misses more than that of chunks of 2.
#
# ## Bias against window
#
# How much of the gradient is missing depends on how far back the full gradient reaches. We compare the truncated gradient
# with the full one for an Elman network, whose gradient vanishes quickly, and for an LSTM with open forget gates. The error
# is the norm of the difference, relative to the norm of the full gradient. The solid lines are for chunks of $k$ steps,
# `TBPTT(k)`. The dotted line is for windows of $k$ steps that overlap by half, `TBPTT(k // 2, k)`, which take twice the
# time.
#
# In the picture, an error of one is as large as the full gradient itself. With a window of one step, the error of the Elman
# network is already below 0.3. For the LSTM, the longest window of the picture is still too short.

# %%
T, F, H = (64 if FAST else 128), 3, 8
xs = jax.random.normal(jax.random.key(7), (4, T, F))
goal = jnp.cumsum(xs, axis=1) / 5  # needs all earlier inputs
windows = [1, 4, 16] if FAST else [1, 2, 4, 8, 16, 32]
models = {"Elman": jrnn.Elman(H), "LSTM, forget bias 3": jrnn.LSTM(H, forget_bias=3.0)}


def flat(tree):
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


def gradient(model, params, method):
    run = jax.jit(training.value_and_grad(model, training.squared_error, method))
    return flat(run(params, None, xs, goal)[1])


def error(model, params, method, full):
    difference = gradient(model, params, method) - full
    return float(jnp.linalg.norm(difference) / jnp.linalg.norm(full))


fig, ax = plt.subplots()
errors = {}
for name, cell in models.items():
    model = jrnn.Sequential(jrnn.Recurrent(cell), jrnn.Dense(F))
    params = model.init(jax.random.key(0), F)
    full = gradient(model, params, training.BPTT())
    errors[name] = [error(model, params, training.TBPTT(k), full) for k in windows]
    ax.loglog(windows, errors[name], "o-", label=name)

overlapping = [
    error(model, params, training.TBPTT(k // 2, k), full) for k in windows[1:]
]
ax.loglog(
    windows[1:], overlapping, "o:", color=plots.COLORS[1], label="overlapping windows"
)
ax.set(xlabel="window (steps)", ylabel="relative error of the gradient")
ax.set_xticks(windows, windows, minor=False)
ax.minorticks_off()
ax.set_title("The bias depends on how far back the gradient reaches")
fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
plt.show()

for name, values in errors.items():
    print(f"{name}: window {windows[0]} error {values[0]:.3f}", end=", ")
    print(f"window {windows[-1]} error {values[-1]:.3f}")
    assert values[-1] < 0.9 * values[0]
assert errors["Elman"][0] < 0.3 and errors["LSTM, forget bias 3"][-1] > 0.5
assert errors["LSTM, forget bias 3"][-1] > 3 * errors["Elman"][-1]
assert all(
    a < b for a, b in zip(overlapping, errors["LSTM, forget bias 3"][1:], strict=True)
)
assert error(model, params, training.TBPTT(T), full) < 1e-4  # one window: all of it

# %% [markdown]
# ## Why truncate?
#
# The backward pass needs values of the forward pass, and keeps them for all steps of a window. So memory grows with the
# window. XLA, the compiler of JAX, reports how much temporary memory a compiled gradient takes. The picture shows it for
# one sequence of 512 steps and four windows.

# %%
model = jrnn.Sequential(jrnn.Recurrent(jrnn.LSTM(32)), jrnn.Dense(F))
params = model.init(jax.random.key(0), F)
long_xs, long_goal = jnp.ones((4, 512, F)), jnp.ones((4, 512, F))
spans = [8, 64, 512] if FAST else [8, 32, 128, 512]
memory = []
for k in spans:
    run = training.value_and_grad(model, training.squared_error, training.TBPTT(k))
    compiled = jax.jit(run).lower(params, None, long_xs, long_goal).compile()
    memory.append(compiled.memory_analysis().temp_size_in_bytes / 2**20)

fig, ax = plt.subplots()
ax.loglog(spans, memory, "o-")
ax.set_xticks(spans, spans, minor=False)
ax.set_yticks(memory, [f"{m:.1f}" for m in memory], minor=False)
ax.minorticks_off()
ax.set(xlabel="window (steps)", ylabel="temporary memory (MiB)")
ax.set_title("A shorter window needs less memory")
plt.show()
print({k: f"{m:.2f} MiB" for k, m in zip(spans, memory, strict=True)})
assert memory[-1] > 3 * memory[0]

# %% [markdown]
# ## What to remember
#
# * Clip the norm of the gradient. The direction stays the same, and updates on a cliff stay small.
# * Truncated backpropagation carries the state and stops the gradient. Its outputs are exact, its gradient is biased.
# * The window has to be as long as the dependencies that the network should learn. Memory grows with it.
#
# Next: [sequences in, sequences out](08_many_to_many.ipynb). More: [gradients through
# time](../docs/gradients.md#other-gradient-methods).
