# %% [markdown]
# # A character model: train it, sample from it, look at its units
#
# You will train a network that reads Python code character by character and predicts the next character, and let it write
# code. Then you look at single units of its state: the value of one of them depends on whether the text is inside brackets,
# although brackets have no special role in training. The notebook takes about a minute on two CPU cores.

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
from jrnn.text import Vocabulary

FAST = bool(os.environ.get("JRNN_FAST"))  # smaller sizes, for tests
plt.style.use(plots.STYLE)

# %% [markdown]
# ## The text
#
# The text is the source code of jrnn's own cells, which every installation has. Its last tenth is held out: it is not
# used in training. A character model needs no list of words, and its vocabulary has fewer than a hundred entries.

# %%
folder = os.path.dirname(jrnn.cells.__file__)
text = ""
for name in sorted(os.listdir(folder)):
    if name.endswith(".py"):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            text += file.read()

vocabulary = Vocabulary.build(text, "characters")
ids = vocabulary.encode(text)
border = len(ids) * 9 // 10
train_ids, held_out = ids[:border], ids[border:]
print(f"{len(train_ids):,} characters to train on, {len(held_out):,} held out")
print(f"a vocabulary of {len(vocabulary)}")
assert vocabulary.decode(ids) == text
assert len(vocabulary) < 120

# %% [markdown]
# ## Two bounds
#
# When is a loss good? A model that knows only how frequent each character is has the entropy of these frequencies as its
# loss. A model that also knows how often each character follows each other one has a lower loss. To be better than both, a
# model must remember more than one character.

# %%


def bounds(ids, classes):
    """Returns the entropy of characters, and that given the character before."""
    pairs = np.zeros((classes, classes))
    np.add.at(pairs, (ids[:-1], ids[1:]), 1)
    p = pairs / pairs.sum()
    before, after = p.sum(axis=1), p.sum(axis=0)
    single = -np.sum(after[after > 0] * np.log(after[after > 0]))
    joint = -np.sum(p[p > 0] * np.log(p[p > 0]))
    return single, joint + np.sum(before[before > 0] * np.log(before[before > 0]))


one, two = bounds(ids, len(vocabulary))
print(f"frequencies {one:.2f}, pairs {two:.2f} nats per character")

# %% [markdown]
# ## Training
#
# The text is split into rows, and each row is read from its beginning to its end in chunks. The state is carried from
# chunk to chunk, so that the network can remember earlier chunks, and the gradient stops between them.
#
# In the picture, compare the horizontal line of the held-out text with the two dashed bounds: it is below both.

# %%
size, batch, steps = (64, 16, 50) if FAST else (128, 32, 64)
cell = jrnn.LSTM(size)
model = jrnn.Sequential(
    jrnn.Embed(len(vocabulary), 24),
    jrnn.Recurrent(cell),
    jrnn.Dense(len(vocabulary)),
)


def chunk_loss(params, state, chunk, key):
    inputs, targets = chunk.data
    state, logits = model.apply(params, state, inputs, mask=chunk.mask, key=key)
    return training.cross_entropy(logits, targets, chunk.mask), state


chunks = training.split_into_chunks(
    training.stream_to_rows(train_ids, batch=batch), length=steps
)
epochs = 1 if FAST else 6
updates = epochs * len(chunks.mask)
tx = training.optimizer(optax.adam(optax.cosine_decay_schedule(1e-2, updates, 0.05)))
run = jax.jit(training.train_on_chunks(chunk_loss, tx))
untrained = params = model.init(jax.random.key(0))
opt_state, history = tx.init(params), []
for _ in range(epochs):
    start = model.initial_state(params, (batch,))
    params, opt_state, _, losses = run(params, opt_state, start, chunks)
    history.extend(np.asarray(losses))

# %%
_, logits = jax.jit(model.apply)(params, None, jnp.array(held_out[:-1]))
reached = float(training.cross_entropy(logits, jnp.array(held_out[1:])))
print(f"held out: {reached:.2f} nats per character")

fig, ax = plt.subplots()
ax.plot(history, lw=1, label="training")
ax.axhline(reached, color=plots.COLORS[1], label="held out, at the end")
for bound, name in ((one, "frequencies"), (two, "pairs")):
    ax.axhline(bound, color="0.4", ls="--", lw=1)
    ax.text(len(history), bound, name, color="0.3", va="bottom", ha="right")
ax.set(xlabel="update", ylabel="loss (nats per character)", ylim=(0, None))
ax.set_title("The network remembers more than one character")
ax.legend(loc="lower left")
plt.show()
assert reached < two

# %% [markdown]
# ## Sampling
#
# The network writes: it draws a character from its prediction and reads it as the next input. The *temperature* divides
# the outputs before the softmax. At a low temperature, the network almost always draws the most probable character, and
# often repeats itself. At a high temperature, it draws improbable characters more often, and makes more errors.

# %%
prime = "    def init("
for temperature in (0.3, 0.8, 1.4):
    _, out = jrnn.generate(
        model,
        params,
        None,
        jnp.array(vocabulary.encode(prime)),
        180,
        key=jax.random.key(1),
        temperature=temperature,
    )
    print(f"--- temperature {temperature}")
    print(prime + vocabulary.decode(out))

# %% [markdown]
# The picture shows the ten most probable next characters. With a higher temperature, the bars become more equal.

# %%
_, logits = model.apply(params, None, jnp.array(vocabulary.encode(prime)))
fig, ax = plt.subplots(figsize=(6.4, 2.8))
top = np.argsort(-np.asarray(logits[-1]))[:10]
entropies = []
for place, temperature in enumerate((0.3, 0.8, 1.4)):
    p = np.asarray(jax.nn.softmax(logits[-1] / temperature))
    entropies.append(-np.sum(p * np.log(p + 1e-30)))
    ax.bar(np.arange(10) + 0.27 * (place - 1), p[top], 0.27, label=f"{temperature}")
ax.set_xticks(range(10), [repr(vocabulary.decode([i])) for i in top])
ax.set(xlabel="next character", ylabel="probability")
ax.set_title(f"The temperature flattens what follows “{prime.strip()}”")
ax.legend(title="temperature")
plt.show()
assert entropies[0] < entropies[1] < entropies[2]

# %% [markdown]
# ## What does a unit know?
#
# Do single units of the memory $C_t$ stand for something that a reader of code knows? The properties below are computed
# from the held-out text. For each one, we choose the unit with the largest correlation in the first half of that text, and
# measure its correlation in the second half, so that a correlation by chance does not count. For comparison, we do the
# same with the network before training.
#
# In the picture, a blue bar that is longer than the gray bar below it is something that the network has learned. The
# position in the line needs no training: the memory of an untrained network also changes with every character of a line.

# %%
held_text = vocabulary.decode(held_out)
quotes = np.cumsum(
    [held_text[max(0, i - 2) : i + 1] == '"' * 3 for i in range(len(held_text))]
)


def columns(text):
    """Returns the position of each character in its line."""
    found, column = [], 0
    for c in text:
        found.append(column)
        column = 0 if c == "\n" else column + 1
    return np.array(found)


depth = np.cumsum([(c in "([{") * 1 - (c in ")]}") * 1 for c in held_text])
properties = {
    "inside a docstring": quotes % 2,
    "position in the line": columns(held_text),
    "inside brackets": depth > np.median(depth),
    "capital letter read": np.array([c.isupper() for c in held_text]),
}


@jax.jit
def memories(params):
    """Returns the memory of every unit after each character."""
    _, xs = model.layers[0].apply(params[0], (), jnp.array(held_out))
    return jrnn.scan(cell, params[1], None, xs, return_states=True)[1][1].c


def best_unit(cs, wanted):
    """Returns the unit that follows a property, and its correlation in new text."""
    half = len(cs) // 2

    def correlation(cs, wanted):
        cs = (cs - cs.mean(0)) / (cs.std(0) + 1e-9)
        wanted = (wanted - wanted.mean()) / (wanted.std() + 1e-9)
        return cs.T @ wanted / len(wanted)

    unit = int(np.abs(correlation(cs[:half], wanted[:half])).argmax())
    return unit, float(correlation(cs[half:, [unit]], wanted[half:])[0])


cs = np.asarray(memories(params))
before = np.asarray(memories(untrained))
found = {name: best_unit(cs, wanted * 1.0) for name, wanted in properties.items()}
control = {name: best_unit(before, wanted * 1.0) for name, wanted in properties.items()}
for name, (unit, r) in found.items():
    print(
        f"{name:22} unit {unit:3d}: {r:+.2f}   before training {control[name][1]:+.2f}"
    )

fig, ax = plt.subplots(figsize=(6.4, 2.8))
place = np.arange(len(found))
for shift, label, some in ((0.2, "before training", control), (-0.2, "trained", found)):
    values = [abs(r) for _, r in some.values()]
    color = plots.COLORS[0] if some is found else "0.7"
    ax.barh(place + shift, values, 0.38, label=label, color=color)
ax.set_yticks(place, list(found))
ax.invert_yaxis()
ax.set(
    xlabel="correlation of the best unit, in text that did not choose it",
    ylabel="property",
)
ax.set_title("After training, units stand for properties of the text")
ax.legend()
plt.show()

# %% [markdown]
# The last picture shows the unit for brackets, character by character. The color is the value of its memory. Look for
# opening brackets: after most of them the color becomes red, and after closing brackets it changes back to blue.

# %%
unit, r = found["inside brackets"]
middle = len(held_text) // 2
first = held_text.index("(", middle)
start = held_text.rindex("\n\n", 0, first) + 1
rows = held_text[start : start + 1400].split("\n")[:20]

value = cs[:, unit] * np.sign(r)
low, high = np.quantile(value, [0.05, 0.95])
shades = plt.get_cmap("RdBu_r")
fig, ax = plt.subplots(figsize=(7.4, 4))
place = start
for line, row in enumerate(rows):
    for column, character in enumerate(row):
        share = np.clip((value[place + column] - low) / (high - low), 0, 1)
        box = plt.Rectangle((column, line), 1, 1, color=shades(0.2 + 0.6 * share), lw=0)
        ax.add_patch(box)
        ax.text(
            column + 0.5,
            line + 0.55,
            character.replace("$", r"\$"),
            family="monospace",
            fontsize=6.5,
            ha="center",
            va="center",
        )
    place += len(row) + 1
ax.set(xlim=(0, 88), ylim=(len(rows), 0))
ax.set_title(f"Unit {unit} while the network reads: mostly red inside brackets")
ax.axis("off")
plt.show()

best, untrained = (abs(each["inside brackets"][1]) for each in (found, control))
assert FAST or best > untrained + 0.05

# %% [markdown]
# ## What to remember
#
# * A character model needs a loss, a state that is carried from chunk to chunk, and a bound to compare with.
# * The temperature of sampling decides how often improbable characters are drawn. The parameters stay the same.
# * Units of the state can stand for properties of the text. Choose them in one half of a text and test them in the other.
#
# Next: [inside Flax](11_inside_flax.ipynb). More: [experiments with texts](../docs/experiments.md).
