# %% [markdown]
# # Inside Flax: a recurrent layer as a module, in linen and in nnx
#
# Models are often written in Flax, which has two module systems: *linen* and the newer *nnx*. You will use one jrnn layer
# as a part of a linen model, of an nnx model and of a plain jrnn model. The three compute the same outputs and have the same
# losses in training. Then you move the weights of a recurrent network of Flax to jrnn, and measure its gradients with
# `jrnn.diagnostics`. The notebook takes about half a minute on two CPU cores.

# %%
try:
    import jrnn
except ImportError:  # opened alone, for example in a hosted service
    import subprocess
    import sys

    subprocess.check_call(
        [sys.executable, "-m", "pip", "install", "-q", "jrnn[flax,viz]"]
    )
    import jrnn

# %%
import os

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from flax.training.train_state import TrainState

from jrnn import diagnostics
from jrnn.diagnostics import plots
from jrnn.interop import flax as bridge

FAST = bool(os.environ.get("JRNN_FAST"))  # smaller sizes, for tests
plt.style.use(plots.STYLE)

# %% [markdown]
# ## A task with lengths
#
# Each example is a sequence of words, given as numbers from 1 to 6. The question is which word came first: the network has
# to carry it to the end of the sequence. Lengths differ, and short rows are padded with zeros.

# %%
WORDS, TIME, UNITS, CLASSES = 7, 12, 24, 7


def draw(seed, rows=64):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, TIME + 1, rows)
    ids = rng.integers(1, WORDS, (rows, TIME))
    ids[np.arange(TIME) >= lengths[:, None]] = 0
    return ids, lengths, ids[:, 0]


ids, lengths, labels = draw(0)
print("ids", ids.shape, "first row", ids[0], "of length", lengths[0])

# %% [markdown]
# ## A linen model
#
# `LinenLayer` turns any jrnn layer into a linen module. Its arrays are parameters of the module, so `TrainState`,
# checkpoints and partitioning work as for any other module. Lengths are an argument of the call.

# %%
layer = jrnn.Recurrent(jrnn.GRU(UNITS), return_sequence=False)


class LinenClassifier(nn.Module):
    @nn.compact
    def __call__(self, ids, lengths):
        xs = nn.Embed(WORDS, 8)(ids)
        last = bridge.LinenLayer(layer)(xs, lengths=lengths)
        return nn.Dense(CLASSES)(last)


linen = LinenClassifier()
variables = linen.init(jax.random.key(0), ids, lengths)
print(jax.tree.map(jnp.shape, variables["params"]))
assert linen.apply(variables, ids, lengths).shape == (64, CLASSES)

# %% [markdown]
# ## An nnx model, with the same weights
#
# `NNXLayer` is the same for nnx, where a module holds its arrays. To compare the two models, the nnx model gets the weights
# of the linen model.


# %%
class NNXClassifier(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(WORDS, 8, rngs=rngs)
        self.recurrent = bridge.NNXLayer(layer, in_features=8, rngs=rngs)
        self.dense = nnx.Linear(UNITS, CLASSES, rngs=rngs)

    def __call__(self, ids, lengths):
        return self.dense(self.recurrent(self.embed(ids), lengths=lengths))


start = variables["params"]
recurrent_name = next(name for name in start if name.startswith("LinenLayer"))
recurrent = start[recurrent_name]
module = NNXClassifier(nnx.Rngs(0))
module.embed.embedding[...] = start["Embed_0"]["embedding"]
module.dense.kernel[...] = start["Dense_0"]["kernel"]
module.dense.bias[...] = start["Dense_0"]["bias"]
graph, weights, rest = nnx.split(module, nnx.Param, ...)
flat = dict(nnx.to_flat_state(weights))
for path, variable in flat.items():
    if path[0] == "recurrent":
        variable[...] = recurrent[path[-1]]
nnx.update(module, weights)

gap = jnp.abs(module(ids, lengths) - linen.apply(variables, ids, lengths)).max()
print(f"linen and nnx differ by {gap:.1e}")
assert gap < 1e-6

# %% [markdown]
# ## A jrnn model, with the same weights
#
# Without Flax, the model is a `Sequential` of layers, and its parameters are a tuple with one entry for each layer.

# %%
plain = jrnn.Sequential(jrnn.Embed(WORDS, 8), layer, jrnn.Dense(CLASSES))
embed, cell_params, dense = plain.init(jax.random.key(0))
plain_params = (
    embed._replace(table=start["Embed_0"]["embedding"]),
    type(cell_params)(**{name: recurrent.get(name) for name in cell_params._fields}),
    dense._replace(w=start["Dense_0"]["kernel"], b=start["Dense_0"]["bias"]),
)
_, logits = plain.apply(plain_params, None, ids, lengths=lengths)
gap = jnp.abs(logits - linen.apply(variables, ids, lengths)).max()
print(f"linen and jrnn differ by {gap:.1e}")
assert gap < 1e-6

# %% [markdown]
# ## Three models, one training
#
# Each model is trained in the way of its library: linen with a `TrainState`, nnx with an `nnx.Optimizer`, jrnn with plain
# functions. The optimizer, the batches and the initial weights are the same, and so are the losses: in the picture, the
# three lines are drawn with different widths, because they lie on top of each other.

# %%
STEPS = 60 if FAST else 250
adam = optax.adam(5e-3)


def cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@jax.jit
def linen_step(state, ids, lengths, labels):
    def loss(params):
        return cross_entropy(state.apply_fn({"params": params}, ids, lengths), labels)

    value, grads = jax.value_and_grad(loss)(state.params)
    return state.apply_gradients(grads=grads), value


@nnx.jit
def nnx_step(module, optimizer, ids, lengths, labels):
    value, grads = nnx.value_and_grad(lambda m: cross_entropy(m(ids, lengths), labels))(
        module
    )
    optimizer.update(module, grads)
    return value


@jax.jit
def plain_step(params, opt_state, ids, lengths, labels):
    def loss(params):
        return cross_entropy(plain.apply(params, None, ids, lengths=lengths)[1], labels)

    value, grads = jax.value_and_grad(loss)(params)
    updates, opt_state = adam.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, value


state = TrainState.create(apply_fn=linen.apply, params=start, tx=adam)
optimizer = nnx.Optimizer(module, adam, wrt=nnx.Param)
opt_state = adam.init(plain_params)
losses = {"linen": [], "nnx": [], "jrnn": []}
for step in range(STEPS):
    batch = draw(100 + step)
    state, value = linen_step(state, *batch)
    losses["linen"].append(float(value))
    losses["nnx"].append(float(nnx_step(module, optimizer, *batch)))
    plain_params, opt_state, value = plain_step(plain_params, opt_state, *batch)
    losses["jrnn"].append(float(value))

fig, ax = plt.subplots()
for (name, values), width, style in zip(
    losses.items(), (6, 3.5, 1.5), ("-", "-", "--"), strict=True
):
    ax.plot(values, style, lw=width, label=name, alpha=0.8)
ax.axhline(np.log(6), color="0.4", ls=":", lw=1)
ax.text(STEPS, np.log(6) + 0.03, "guessing one of six words", ha="right", color="0.3")
ax.set(xlabel="update", ylabel="loss (nats per sequence)", ylim=(0, None))
ax.set_title("One layer in three models trains as one")
ax.legend()
plt.show()

values = np.array(list(losses.values()))
print(f"largest difference of the three losses: {np.ptp(values, axis=0).max():.1e}")
assert np.allclose(values[0], values[1], atol=1e-3)
assert np.allclose(values[0], values[2], atol=1e-3)
assert values[0, -1] < (0.9 if FAST else 0.3) * np.log(6)

# %% [markdown]
# ## Padding does not count
#
# The same sequences in wider rows, with any words after their ends, give the same gradient. The state of a row does not
# change after its length.

# %%
wide = np.pad(ids, ((0, 0), (0, 5)))
wide[np.arange(wide.shape[1]) >= lengths[:, None]] = 3


def linen_loss(params, ids):
    return cross_entropy(linen.apply({"params": params}, ids, lengths), labels)


narrow_gradient = jax.grad(linen_loss)(state.params, ids)
wide_gradient = jax.grad(linen_loss)(state.params, wide)
gaps = jax.tree.map(
    lambda a, b: float(jnp.abs(a - b).max()), narrow_gradient, wide_gradient
)
print(f"largest difference of the gradients: {max(jax.tree.leaves(gaps)):.1e}")
assert max(jax.tree.leaves(gaps)) < 1e-6

# %% [markdown]
# ## Weights of Flax, diagnostics of jrnn
#
# A network that is built from `flax.linen.RNN` can be used as well. `from_linen_params` reads its weights and returns a jrnn
# layer that computes the same outputs. Then `jrnn.diagnostics` measures how far back the gradient reaches: the norm of the
# gradient of the last output with respect to the state some steps before.

# %%
flax_rnn = nn.RNN(nn.GRUCell(UNITS))
xs = jax.random.normal(jax.random.key(5), (4, 30, 8))
flax_variables = flax_rnn.init(jax.random.key(6), xs)
moved_layer, moved = bridge.from_linen_params(flax_variables["params"])
_, ys = moved_layer.apply(moved, None, xs)
gap = jnp.abs(ys - flax_rnn.apply(flax_variables, xs)).max()
print(moved_layer)
print(f"flax.linen.RNN and jrnn differ by {gap:.1e}")
assert gap < 1e-5

# %% [markdown]
# The update gate of a GRU multiplies its state, as the forget gate of an LSTM does. A larger bias opens it. In the picture,
# the upper line is the network with opened gates: its gradient reaches 30 steps back.

# %%
lags = {}
for name in ("GRU of Flax", "the same, update gates opened"):
    found = diagnostics.gradient_by_lag(moved_layer.cell, moved, None, xs)
    lags[name] = found.mean(axis=0)
    third = moved.b_x.shape[0] // 3
    moved = moved._replace(b_x=moved.b_x.at[third : 2 * third].add(3.0))

ax = plots.gradient_by_lag(lags)
ax.set_title("A larger bias of the update gate keeps gradients alive")
plt.show()
slow, fast = lags["the same, update gates opened"], lags["GRU of Flax"]
print(
    f"gradient 30 steps back, relative to now: {fast[-1] / fast[0]:.1e} and {slow[-1] / slow[0]:.1e}"
)
assert slow[-1] / slow[0] > 10 * fast[-1] / fast[0]

# %% [markdown]
# `to_linen_params` moves the weights back, so a network can be changed or trained in jrnn and used in Flax again.

# %%
returned = bridge.to_linen_params(moved_layer, moved)
gap = jnp.abs(
    moved_layer.apply(moved, None, xs)[1] - flax_rnn.apply({"params": returned}, xs)
).max()
print(f"after the way back they differ by {gap:.1e}")
assert gap < 1e-5

# %% [markdown]
# ## What to remember
#
# * `LinenLayer` and `NNXLayer` make a module of any jrnn layer. Masks, lengths and states are arguments of its call.
# * The weights are the same arrays in all three, so three ways to write a model are one computation.
# * `from_linen_params`, `from_nnx_params` and their reverse move the weights of recurrent modules of Flax.
#
# Next: [parallel in time](12_parallel_in_time.ipynb). More: [inside Flax](../docs/flax.md) and
# [moving weights](../docs/moving_weights.md).
