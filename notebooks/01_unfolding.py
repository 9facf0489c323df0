# %% [markdown]
# # Unfolding: a cycle becomes layers
#
# A recurrent network contains a cycle. You will see why a cycle alone is a problem and how time steps solve it. Then you
# will see that a Python loop, `jax.lax.scan` and the unfolded graph are one computation, with one set of weights, and how
# long each takes to compile. The notebook takes about half a minute on two CPU cores.

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
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from jrnn.diagnostics import plots

FAST = bool(os.environ.get("JRNN_FAST"))  # smaller sizes, for tests
plt.style.use(plots.STYLE)

# %% [markdown]
# ## A circuit that never settles
#
# A feed-forward network has no cycles, so an input determines the output. A cycle changes that. Take a NAND gate, which
# is false only if both of its inputs are true, and connect its output to its second input. An output is stable if the
# gate, which reads this output, computes the same output again.

# %%


def nand(a, b):
    return not (a and b)


for fixed in (False, True):
    stable = [output for output in (False, True) if nand(fixed, output) == output]
    print(f"input {fixed!s:5}  stable outputs: {stable}")
assert not [output for output in (False, True) if nand(True, output) == output]

# %% [markdown]
# With a true input, no output is stable: if the output is true, it becomes false, and if it is false, it becomes true. The
# network has no single output.
#
# *Time steps* solve this problem. The output enters the gate only at the beginning of the next step, and in between it is
# frozen. Now every step has exactly one output, and steps may have different inputs. The circuit is a recurrent network
# of one unit,
#
# $$h_t = \mathrm{step}(w_x x_t + w_h h_{t-1} + b), \qquad w_x = w_h = -1, \quad b = 1.5,$$
#
# and `jrnn.scan` computes its outputs, one for each input. In the picture, compare the lower line with the upper one: while
# the input is true, the output changes in every step, and while the input is false, the output stays true.

# %%


def threshold(z):
    return jnp.where(z > 0, 1.0, 0.0)


gate = jrnn.Elman(hidden_size=1, activation=threshold)
gate_params = jrnn.cells.ElmanParams(
    w_x=jnp.array([[-1.0]]), w_h=jnp.array([[-1.0]]), b_x=jnp.array([1.5])
)
inputs = jnp.array([1.0] * 6 + [0.0] * 5 + [1.0] * 5)
_, outputs = jrnn.scan(gate, gate_params, None, inputs[:, None])
outputs = outputs[:, 0]

fig, ax = plt.subplots(figsize=(6.4, 2.6))
steps = np.arange(len(inputs) + 1)
ax.stairs(
    inputs + 1.5, steps, baseline=None, label="input", color=plots.COLORS[0], lw=2
)
ax.stairs(outputs, steps, baseline=None, label="output", color=plots.COLORS[1], lw=2)
ax.set_yticks([0, 1, 1.5, 2.5], ["false", "true", "false", "true"])
ax.set(xlabel="time step", ylabel="output    input")
ax.set_title("One output in each step, although the circuit never settles")
plt.show()

before = jnp.concatenate([jnp.zeros(1), outputs[:-1]])
assert all(y == nand(x, h) for x, h, y in zip(inputs, before, outputs, strict=True))
assert (outputs[1:6] != outputs[:5]).all()  # input true: another output in each step
assert (outputs[6:11] == 1).all()  # input false: a stable output

# %% [markdown]
# ## Three ways to write one network
#
# The simple recurrent network has the same form, with vectors and matrices:
#
# $$h_t = \tanh(x_t W_x + h_{t-1} W_h + b)$$
#
# Here $x_1, \dots, x_T$ is the input sequence; some texts write the index as $x^{(t)}$ or $x^{\langle t \rangle}$. The state
# before the first step is $h_0$. It is usually zero, and sometimes it is drawn at random or learned.
#
# jrnn multiplies from the right, so $W_x$ is $[I, H]$. Texts with column vectors write $W_{xh} x_t + W_{hh} h_{t-1}$; their
# matrices are the transposes. We write the network as a loop, as a `jax.lax.scan`, and with jrnn. With `unroll=T`, jrnn
# unfolds its loop as well.

# %%
T, I, H = 6, 3, 4
cell = jrnn.Elman(hidden_size=H)
params = cell.init(jax.random.key(0), I)
xs = jax.random.normal(jax.random.key(1), (T, I))


def by_loop(params, xs):
    h, ys = jnp.zeros(H), []
    for x in xs:
        h = jnp.tanh(x @ params.w_x + h @ params.w_h + params.b_x)
        ys.append(h)
    return jnp.stack(ys)


def by_lax_scan(params, xs):
    def step(h, x):
        h = jnp.tanh(x @ params.w_x + h @ params.w_h + params.b_x)
        return h, h

    return jax.lax.scan(step, jnp.zeros(H), xs)[1]


def by_jrnn(params, xs, **options):
    return jrnn.scan(cell, params, None, xs, **options)[1]


hs = by_jrnn(params, xs)
for other in (by_loop, by_lax_scan, lambda *args: by_jrnn(*args, unroll=T)):
    assert jnp.allclose(other(params, xs), hs, atol=1e-6)

# Another initial state gives other outputs.
random_start = jrnn.cells.ElmanState(jax.random.normal(jax.random.key(5), (H,)))
assert abs(jrnn.scan(cell, params, random_start, xs)[1] - hs).max() > 0.1

# One matmul instead of two: stack the weights, and concatenate input and state.
h = jnp.zeros(H)
stacked = jnp.concatenate([params.w_x, params.w_h])  # [I + H, H]
for x in xs:
    h = jnp.tanh(jnp.concatenate([x, h]) @ stacked + params.b_x)
assert jnp.allclose(h, hs[-1], atol=1e-6)

# %% [markdown]
# A batch is one more axis in front. $B$ sequences of $N$ steps with $I$ features each are an array `[B, N, I]`. The outputs
# are `[B, N, H]`: one vector of $H$ values for each step of each sequence. If a task needs one output only, take the last.
# So the network is a module that maps a sequence to a sequence, and inside it computes step by step.

# %%
B, N = 5, 7
_, batch = jrnn.scan(cell, params, None, jnp.ones((B, N, I)))
assert batch.shape == (B, N, H) and batch[:, -1].shape == (B, H)

# %% [markdown]
# The folded network, on the left of the picture, has a *recurrent edge*: an arrow from the hidden units to themselves.
# *Temporal unfolding* replaces it by a feed-forward network with one layer for each time step, on the right. Layer $t$ has
# its own input $x_t$ and its own output $h_t$. The values change from layer to layer: compare the colors of the columns.
# The weights on the arrows do not: every arrow between layers is the same $W_h$, and every arrow from an input is the same
# $W_x$.

# %%
fig, ax = plt.subplots(figsize=(7.4, 3))
ax.axis("off")
ax.set(xlim=(-3.2, T + 0.4), ylim=(-0.1, 1.2 + 0.4 * H))
arrow = {"arrowstyle": "->", "color": "0.35"}
colors = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1, "edgecolors": "0.3"}
height = 1 + 0.4 * np.arange(H)
for t in range(T + 1):
    values = jnp.zeros(H) if t == 0 else hs[t - 1]
    dots = ax.scatter([t] * H, height, c=values, s=150, zorder=3, **colors)
    ax.text(t, 0.9 + 0.4 * H, f"$h_{t}$", ha="center")
    if t > 0:
        ax.annotate("", (t - 0.15, 1.6), (t - 0.85, 1.6), arrowprops=arrow)
        ax.text(t - 0.5, 1.67, "$W_h$", ha="center", color="0.2")
        ax.annotate("", (t, 0.9), (t, 0.2), arrowprops=arrow)
        ax.text(t + 0.06, 0.5, "$W_x$", color="0.2")
        ax.text(t, 0, f"$x_{t}$", ha="center")
ax.scatter([-2] * H, height, c="0.85", s=150, zorder=3, edgecolors="0.3")
ax.text(-2, 0.9 + 0.4 * H, "$h$", ha="center")
loop = {**arrow, "connectionstyle": "arc3,rad=-1.6"}
ax.annotate("", (-2.15, 1.45), (-2.15, 1.85), arrowprops=loop)
ax.text(-2.75, 1.6, "$W_h$", ha="right", color="0.2")
ax.annotate("", (-2, 0.9), (-2, 0.2), arrowprops=arrow)
ax.text(-1.94, 0.5, "$W_x$", color="0.2")
ax.text(-2, 0, "$x$", ha="center")
ax.text(-1.1, 1.55, "=", ha="center", fontsize=14)
ax.set_title("Folded and unfolded: the values change, the weights are the same")
fig.colorbar(dots, ax=ax, label="value of a hidden unit", shrink=0.8)
plt.show()
assert len({hs[t].tobytes() for t in range(T)}) == T  # the values change

# %% [markdown]
# ## What unfolding costs
#
# Tracing the Python loop unfolds it, so the program grows with $T$, and so does the time to compile it. The scan contains
# one copy of the step for any $T$. Both compute the same, so `jrnn.scan` keeps the loop, and a longer sequence takes more
# time to run but not to compile. In the picture, the line of the unfolded loop rises, and the two other lines do not.

# %%


def operations(f, steps):
    """The number of operations in the traced program; a loop body counts once."""
    return str(jax.make_jaxpr(f)(params, jnp.ones((steps, I)))).count("= ")


def compile_time(f, steps):
    start = time.perf_counter()
    jax.jit(f).lower(params, jnp.ones((steps, I))).compile()
    return time.perf_counter() - start


sizes = [4, 16, 64] if FAST else [4, 16, 64, 256]
compile_time(by_lax_scan, 2)  # starts the compiler
seconds = {
    "loop, unfolded": [compile_time(by_loop, n) for n in sizes],
    "jax.lax.scan": [compile_time(by_lax_scan, n) for n in sizes],
    "jrnn.scan": [compile_time(by_jrnn, n) for n in sizes],
}
fig, ax = plt.subplots()
for name, values in seconds.items():
    ax.loglog(sizes, values, "o-", label=name)
ax.set(xlabel="steps $T$", ylabel="time to compile (s)")
ax.set_xticks(sizes, sizes, minor=False)
ax.minorticks_off()
ax.set_title("Only the unfolded program gets longer with the sequence")
ax.legend()
plt.show()

for n in sizes:
    unfolded, folded = operations(by_loop, n), operations(by_lax_scan, n)
    print(f"T = {n:3}: {unfolded:4} operations unfolded, {folded} in a scan")
assert operations(by_lax_scan, 4) == operations(by_lax_scan, 64)
assert operations(by_loop, 64) > 10 * operations(by_loop, 4)
assert seconds["loop, unfolded"][-1] > max(
    seconds["jax.lax.scan"][-1], seconds["jrnn.scan"][-1]
)

# %% [markdown]
# ## The gradient of shared weights is a sum
#
# The unfolded network is trained by backpropagation like any other feed-forward network. Its layers share their weights,
# so the gradient of $W_h$ is the *sum* of the gradients of all layers. Some texts say that it is the average. To find out,
# give every layer a copy of $W_h$ of its own and differentiate with respect to the copies. In the picture, the blue bars
# are the gradients of the copies. The dashed line is what `jax.grad` returns: it is at the end of the bar of the sum.

# %%


def unshared(copies):
    h = jnp.zeros(H)
    for x, w_h in zip(xs, copies, strict=True):
        h = jnp.tanh(x @ params.w_x + h @ w_h + params.b_x)
    return jnp.sum(h)


def shared(w_h):
    return jnp.sum(by_jrnn(params._replace(w_h=w_h), xs)[-1])


layers = jax.grad(unshared)(jnp.stack([params.w_h] * T))  # [T, H, H]
gradient = jax.grad(shared)(params.w_h)

i, j = np.unravel_index(jnp.argmax(abs(gradient)), (H, H))  # one element of W_h
fig, ax = plt.subplots()
ax.bar(range(1, T + 1), layers[:, i, j], color=plots.COLORS[0])
ax.bar(T + 1.5, layers[:, i, j].sum(), color=plots.COLORS[1])
ax.bar(T + 2.5, layers[:, i, j].mean(), color=plots.COLORS[4])
ax.axhline(gradient[i, j], color="0.3", ls="--", lw=1)
ax.text(0.5, gradient[i, j], "jax.grad", color="0.3", va="bottom")
ax.axhline(0, color="0.3", lw=0.8)
ax.set_xticks([*range(1, T + 1), T + 1.5, T + 2.5], [*range(1, T + 1), "sum", "mean"])
ax.set(
    xlabel="layer $t$ of the unfolded network",
    ylabel="gradient of one element of $W_h$",
)
ax.set_title("The gradient of a shared weight is the sum over the layers")
plt.show()
assert jnp.allclose(layers.sum(axis=0), gradient, atol=1e-5)
assert not jnp.allclose(layers.mean(axis=0), gradient, atol=1e-2)

# %% [markdown]
# ## Why share weights?
#
# A fully connected network reads a whole sentence at once, so each position has weights of its own. If it has learned a
# name at the start of a sentence, it has to learn the name again for the end. A recurrent network applies the same $W_x$ at
# every position. The picture shows what the word "Harry" adds to the hidden units at three positions. On the left, the
# three markers of a unit are apart. On the right, they coincide.

# %%
sentences = [
    "Harry sold his old car",
    "Nobody saw Harry laugh",
    "The old car of Harry broke",
]
places = [s.split().index("Harry") for s in sentences]
harry = jax.random.normal(jax.random.key(2), (I,))  # a vector for the word
longest = max(len(s.split()) for s in sentences)
dense = (
    jax.random.normal(jax.random.key(3), (longest, I, H)) / I**0.5
)  # [position, I, H]

connected = jnp.stack([harry @ dense[p] for p in places])
recurrent = []
for p in places:
    sentence = jnp.zeros((longest, I)).at[p].set(harry)
    (contributions,) = cell.project(params, sentence)  # of all steps
    recurrent.append(contributions[p])
recurrent = jnp.stack(recurrent)

fig, axes = plt.subplots(1, 2, figsize=(6.4, 3), sharey=True)
for ax, values, title in zip(
    axes, (connected, recurrent), ("fully connected", "recurrent"), strict=True
):
    for place, marker, row in zip(places, "osx", values, strict=True):
        ax.plot(row, marker, ms=9, mfc="none", mew=1.8, label=f"word {place + 1}")
    ax.set(xlabel="hidden unit", title=title)
    ax.set_xticks(range(H), range(1, H + 1))
    ax.set_xlim(-0.4, H - 0.6)
axes[0].set_ylabel("contribution of “Harry”")
fig.legend(*axes[1].get_legend_handles_labels(), title="position", loc="outside right")
fig.suptitle(
    "With shared weights, a word has the same effect at every position",
    x=0.01,
    ha="left",
    fontsize=11,
)
plt.show()

assert (recurrent == recurrent[0]).all()
apart = abs(connected[:, None] - connected[None]).max(axis=-1)  # [place, place]
assert apart[0, 1] > 0.1 and apart[0, 2] > 0.1 and apart[1, 2] > 0.1
assert dense.size == longest * params.w_x.size  # and weights for each position

# %% [markdown]
# ## Order matters
#
# Examples in a data set are usually independent, so their order has no meaning. The elements of a sequence are not: a
# sentence with its words shuffled is another sentence. A *time series* is a sequence whose order is that of time, such as
# the price of a stock, a song or a video. Text and DNA have an order without time. A recurrent network handles both,
# because it needs the order only. We shuffle the inputs: their mean stays the same, and the last output does not.

# %%
shuffled = xs[jax.random.permutation(jax.random.key(4), T)]
assert jnp.allclose(xs.mean(axis=0), shuffled.mean(axis=0), atol=1e-6)  # no order
assert abs(by_jrnn(params, xs)[-1] - by_jrnn(params, shuffled)[-1]).max() > 0.1

# %% [markdown]
# ## What to remember
#
# * Time steps turn a cycle, which may never settle, into a sequence with one output for each step.
# * The unfolded network is a feed-forward network with one layer for each step. The layers share their weights, so the
#   gradient of a weight is the sum over the layers.
# * A loop, a scan and the unfolded graph compute the same. A scan compiles in the same time for any length.
#
# Next: [the numbers of Keras and PyTorch, reproduced](02_parity.ipynb). More: [how `jrnn.scan`
# works](../docs/design.md#the-scan).
