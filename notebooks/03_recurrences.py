# %% [markdown]
# # Recurrences: hidden units, outputs, layers and directions
#
# A recurrent connection can start at the hidden units or at the outputs, and lead to either. You will compute three kinds
# by hand and with jrnn, stack layers, and read a sentence in both directions to find out who "Rex" is. The notebook takes
# about twenty seconds on two CPU cores.

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
# ## Three kinds of recurrence
#
# A network with hidden units $h_t$ and outputs $o_t$ has weights from input to hidden units, $W_{xh}$, and from hidden
# units to outputs, $W_{ho}$. The recurrent weights are of one of three kinds. What follows $h_t W_{ho} + b_o$ depends on the
# task: nothing for a real number, as here, and a softmax for the probabilities of classes.
#
# | Recurrence | Hidden units | Outputs | In jrnn |
# |---|---|---|---|
# | hidden-to-hidden | $h_t = \tanh(x_t W_{xh} + h_{t-1} W_{hh} + b_h)$ | $o_t = h_t W_{ho} + b_o$ | `Elman`, then `Dense` |
# | output-to-hidden | $h_t = \tanh(x_t W_{xh} + o_{t-1} W_{oh} + b_h)$ | $o_t = h_t W_{ho} + b_o$ | `Jordan` |
# | output-to-output | $h_t = \tanh(x_t W_{xh} + b_h)$ | $o_t = h_t W_{ho} + o_{t-1} W_{oo} + b_o$ | `OutputToOutput` |

# %%
T, I, H, O = 12, 3, 6, 2
xs = 0.5 * jax.random.normal(jax.random.key(0), (T, I))
identity = jrnn.activations.identity

hidden_to_hidden = jrnn.Sequential(jrnn.Recurrent(jrnn.Elman(H)), jrnn.Dense(O))
output_to_hidden = jrnn.Recurrent(jrnn.Jordan(H, O))
output_to_output = jrnn.Recurrent(jrnn.OutputToOutput(H, O, output_activation=identity))
networks = {
    "hidden-to-hidden": hidden_to_hidden,
    "output-to-hidden": output_to_hidden,
    "output-to-output": output_to_output,
}
params = {name: n.init(jax.random.key(1), I) for name, n in networks.items()}


def by_hand(name, p):
    """The formulas of the table, as a loop."""
    h, o, outputs = np.zeros(H), np.zeros(O), []
    for x in np.asarray(xs):
        if name == "hidden-to-hidden":
            elman, dense = p
            h = np.tanh(x @ elman.w_x + h @ elman.w_h + elman.b_x)
            o = h @ dense.w + dense.b
        elif name == "output-to-hidden":
            h = np.tanh(x @ p.w_x + o @ p.w_y + p.b_x)
            o = h @ p.w_o + p.b_o
        else:
            h = np.tanh(x @ p.w_x + p.b_x)
            o = h @ p.w_o + o @ p.w_y + p.b_o
        outputs.append(o)
    return np.stack(outputs)


for name, network in networks.items():
    _, outputs = network.apply(params[name], None, xs)
    assert np.allclose(outputs, by_hand(name, params[name]), atol=1e-5), name

# %% [markdown]
# ## How much can each remember?
#
# Everything that a network remembers passes through its recurrent connection. With hidden-to-hidden recurrence these are
# the $H = 6$ hidden units. With the other two kinds these are only the $O = 2$ outputs. To see it, we change the first
# inputs a little in all possible directions and look at how the later outputs change. The derivatives form a matrix. The
# number of its singular values above rounding is the number of directions that reach the later outputs. In the picture,
# count the points above the dashed line: six for hidden-to-hidden recurrence, two for the others.

# %%
past = 6  # inputs 1 to 6 are the past, outputs 7 to 12 the future


def future(first, name):
    _, outputs = networks[name].apply(params[name], None, first_then_rest(first))
    return outputs[past:].ravel()


def first_then_rest(first):
    return jnp.concatenate([first, xs[past:]])


singular = {
    name: jnp.linalg.svd(
        jax.jacrev(future)(xs[:past], name).reshape(-1, past * I), compute_uv=False
    )
    for name in networks
}
fig, ax = plt.subplots()
for marker, (name, values) in zip("os^", singular.items(), strict=True):
    ax.semilogy(range(1, 9), values[:8], marker + "-", label=name)
ax.axhline(1e-5, color="0.3", ls="--", lw=1)
ax.text(8, 1.2e-5, "rounding", color="0.3", ha="right", va="bottom")
ax.set(xlabel="direction", ylabel="singular value", ylim=(1e-10, 10))
ax.set_title("Outputs carry fewer directions of the past than hidden units")
fig.legend(*ax.get_legend_handles_labels(), loc="outside right")
plt.show()

reached = {name: int(jnp.sum(values > 1e-5)) for name, values in singular.items()}
print("directions of the past that reach the later outputs:", reached)
assert reached["hidden-to-hidden"] == H
assert reached["output-to-hidden"] == reached["output-to-output"] == O

# %% [markdown]
# ## Several layers
#
# The second layer reads the outputs of the first: $h^1_t$ depends on $x_t$ and $h^1_{t-1}$, and $h^2_t$ on $h^1_t$ and
# $h^2_{t-1}$. So every layer except the last must return a whole sequence (in Keras `return_sequences=True`). jrnn returns
# the sequence by default. If a layer below another one returns its last output only, `init` raises an error.
#
# The picture shows all hidden units of both layers. To compute one column of layer 2, the network needs the column of
# layer 1 below it, and the column of layer 2 to its left.

# %%
stack = jrnn.Stack(jrnn.Elman(5), jrnn.Elman(4))
stack_params = stack.init(jax.random.key(2), I)
(first, second), ys = stack.apply(stack_params, None, xs)

one, two = stack_params
h1, h2, layers = np.zeros(5), np.zeros(4), []
for x in np.asarray(xs):
    h1 = np.tanh(x @ one.w_x + h1 @ one.w_h + one.b_x)
    h2 = np.tanh(h1 @ two.w_x + h2 @ two.w_h + two.b_x)
    layers.append(np.concatenate([h1, h2]))
assert np.allclose(ys[-1], h2, atol=1e-5) and np.allclose(first.h, h1, atol=1e-5)

try:
    jrnn.Stack(
        jrnn.Recurrent(jrnn.Elman(5), return_sequence=False), jrnn.Elman(4)
    ).init(jax.random.key(0), I)
    refused = False
except (TypeError, ValueError) as error:
    refused = True
    print(error)
assert refused

fig, ax = plt.subplots(figsize=(6.4, 3))
image = ax.imshow(np.stack(layers).T, cmap="RdBu_r", vmin=-1, vmax=1, origin="lower")
ax.axhline(4.5, color="black", lw=2)
ax.grid(visible=False)
ax.set_xticks(range(T), range(1, T + 1))
ax.set_yticks([2, 6.5], ["layer 1", "layer 2"])
ax.set(xlabel="time step", ylabel="hidden units")
ax.set_title("Layer 2 reads layer 1 in every step")
fig.colorbar(image, ax=ax, label="value", shrink=0.8)
plt.show()

# %% [markdown]
# ## Both directions: who is Rex?
#
# A network that reads from left to right knows only the words before. In "Rex is a dog", no word before "Rex" shows
# whether Rex is a dog or a dinosaur. The word that shows it comes later. A *bidirectional* layer has a second cell that
# reads from right to left, so each output depends on the whole sentence.
#
# Both networks are trained to answer at the word "Rex": dog or dinosaur? The bars are the probability of "dinosaur", and a
# bar that cannot be seen is a probability near zero. For the first two sentences, the network that reads from left to
# right can only guess, so its bars end at the dashed line. The bidirectional network is right in all four.

# %%
sentences = [
    "Rex is a dog",
    "Rex is a dinosaur",
    "the dog is Rex",
    "the dinosaur is Rex",
]
vocabulary = sorted({word for s in sentences for word in s.split()})
ids = jnp.array([[vocabulary.index(word) for word in s.split()] for s in sentences])
is_rex = ids == vocabulary.index("Rex")
labels = jnp.array([0, 1, 0, 1])  # 0 for dog, 1 for dinosaur
answers = jnp.broadcast_to(labels[:, None], ids.shape)


def reader(layer):
    return jrnn.Sequential(jrnn.Embed(len(vocabulary), 8), layer, jrnn.Dense(2))


readers = {
    "left to right": reader(jrnn.Recurrent(jrnn.GRU(8))),
    "both directions": reader(jrnn.Bidirectional(jrnn.GRU(8))),
}
probability = {}
for name, model in readers.items():

    def loss(params, batch, key, model=model):
        _, logits = model.apply(params, None, batch)
        return training.cross_entropy(logits, answers, is_rex)

    steps = 60 if FAST else 150
    start = model.init(jax.random.key(3))
    data = (ids for _ in range(steps))
    tx = training.optimizer(optax.adam(3e-2))
    result = training.fit(loss, start, data, tx, progress=False)
    _, logits = model.apply(result.params, None, ids)
    probability[name] = jax.nn.softmax(logits)[is_rex][:, 1]

fig, ax = plt.subplots()
for shift, (name, values) in zip((-0.18, 0.18), probability.items(), strict=True):
    ax.bar(np.arange(4) + shift, values, 0.34, label=name)
ax.axhline(0.5, color="0.3", ls="--", lw=1)
ax.text(2.5, 0.51, "guess", color="0.3", ha="center", va="bottom")
ax.set_xticks(range(4), sentences, fontsize=9)
ax.set(xlabel="sentence", ylabel="probability of “dinosaur”", ylim=(0, 1.25))
ax.set_title("At “Rex”, only the bidirectional network knows the later words")
ax.legend(ncols=2, loc="upper left")
plt.show()

forward, both = probability["left to right"], probability["both directions"]
assert forward[0] == forward[1]  # the same words so far: the same answer
assert ((forward > 0.5) == labels)[2:].all()  # the word came before
assert ((both > 0.5) == labels).all()
assert abs(forward[0] - 0.5) < 0.1  # it can only guess

# %% [markdown]
# ## What to remember
#
# * A recurrent connection leads from hidden units or outputs to hidden units or outputs. Its size limits the memory.
# * Layers stack: each reads the sequence that the layer below returns.
# * A bidirectional layer knows later words. It needs the whole sequence, so it cannot write text step by step.
#
# Next: [the LSTM in stages](04_lstm.ipynb). More: [all cells](../docs/cells.md).
