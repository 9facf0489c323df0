"""Faults that the tests must notice: a table for `tests/plant.py`."""

# ruff: noqa: E501  the table quotes code

from typing import NamedTuple

from tests import faults_cells


class Fault(NamedTuple):
    """A change of one place of one file, and the tests that must notice."""

    name: str
    file: str
    old: str  # occurs once in the file
    new: str
    tests: str  # arguments of pytest


PASSING = "tests/test_passing.py"
CALL = "layer.apply(p, s, xs, key=k, **flags)"
SIDES = "layer.apply(params[side], start, xs, key=keys[side], **flags)"
BELOW = "layer.apply(p, s, below, key=key_layer, **flags)"
RESIDUAL = "params, state, xs, lengths=lengths, mask=mask, reset=reset, key=key"
TIED = "params.body, state, ys, reset=reset, key=key, **flags"


def _dropped() -> list[Fault]:
    """Each argument of `apply`, dropped on its way to the inner layers."""
    found = []
    places = [
        ("sequential", "layers/compose.py", CALL),
        ("bidirectional", "layers/recurrent.py", SIDES),
        ("stack", "layers/stack.py", BELOW),
        ("tied", "layers/tied.py", TIED),
    ]
    for layer, file, call in places:
        for flag in ("lengths", "mask", "reset"):
            new = call.replace("**flags", f'**(flags | {{"{flag}": None}})')
            if f"{flag}={flag}" in call:
                new = call.replace(f"{flag}={flag}", f"{flag}=None")
            found.append(Fault(f"{layer} drops {flag}", file, call, new, PASSING))
        key = call[call.index("key=") :].split(",")[0]
        new = call.replace(key, "key=None")
        found.append(Fault(f"{layer} drops the key", file, call, new, PASSING))
        state = {"sequential": " s,", "stack": " s,", "tied": " state,"}.get(layer)
        new = call.replace(state or " start,", " None,")
        found.append(Fault(f"{layer} drops the state", file, call, new, PASSING))
    for flag in ("lengths", "mask", "reset", "key", "state"):
        new = RESIDUAL.replace(f"{flag}={flag}", f"{flag}=None")
        if flag == "state":
            new = RESIDUAL.replace("params, state,", "params, None,")
        name = f"residual drops {flag}"
        found.append(Fault(name, "layers/compose.py", RESIDUAL, new, PASSING))
    for flag in ("lengths", "mask", "reset", "key"):
        old = f"            {flag}={flag},\n"
        new = f"            {flag}=None,\n"
        name = f"recurrent drops {flag}"
        found.append(Fault(name, "layers/recurrent.py", old, new, PASSING))
    for flag in ("mask", "reset"):
        new = SIDES.replace(
            "**flags", f'**(flags | {{"{flag}": None}} if side else flags)'
        )
        name = f"the backward cell of bidirectional ignores {flag}"
        found.append(Fault(name, "layers/recurrent.py", SIDES, new, PASSING))
    return found


def _keys() -> list[Fault]:
    """Keys dropped on their way to the cell in a wrapper."""
    prepare = "cell = self.cell.prepare(params, key=key, batch_shape=batch_shape)"
    return [
        Fault(
            f"{name} drops the key",
            f"cells/{file}",
            old,
            old.replace("key=key", "key=None"),
            PASSING,
        )
        for name, file, old in [
            (
                "zoneout",
                "wrappers.py",
                "u = self.cell.project(params.cell, x, key=key)",
            ),
            ("zoneout, prepare,", "wrappers.py", prepare),
            (
                "residual cell",
                "wrappers.py",
                "self.cell.project(params, x, key=key), x",
            ),
            (
                "layer norm",
                "layer_normed.py",
                "join(self.cell.project(params.cell, x, key=key)",
            ),
            ("mixed precision", "precision.py", "self.cell.project(*narrow, key=key)"),
            ("clip", "clip_cotangent.py", "self.cell.project(params.cell, x, key=key)"),
            (
                "attention",
                "attention.py",
                "self.cell.project(params.cell, joined, key=key)",
            ),
        ]
    ]


FAULTS = [
    *_dropped(),
    *_keys(),
    Fault(
        "gates of an LSTM swapped",
        "cells/lstm.py",
        "i, f, g, o = p\n        c =",
        "f, i, g, o = p\n        c =",
        "tests/test_laws.py -k 'numpy and LSTM and identity'",
    ),
    Fault(
        "update gate of a GRU reversed",
        "cells/gru.py",
        "return GRUState(h=n + self.gate(z) * (state.h - n))\n\n    def _gates(self, params: GRUParams, state: GRUState, p",
        "return GRUState(h=state.h + self.gate(z) * (n - state.h))\n\n    def _gates(self, params: GRUParams, state: GRUState, p",
        "tests/test_laws.py -k 'numpy and GRU'",
    ),
    Fault(
        "recurrence transposed",
        "linear_maps.py",
        "return h @ self.w\n",
        "return h @ (self.w.T if self.w.shape[0] == self.w.shape[1] else self.w)\n",
        "tests/test_laws.py -k 'numpy and Elman'",
    ),
    Fault(
        "bias dropped",
        "cells/affine.py",
        "u + along(bias, u)",
        "u",
        "tests/test_laws.py -k 'numpy and Elman'",
    ),
    Fault(
        "forget bias added twice",
        "cells/base.py",
        "b_x = initializers.forget_gate(key, start, b_x, remembers)",
        "b_x = initializers.forget_gate(key, 2 * start, b_x, remembers)",
        "tests/test_initializers.py -k forget",
    ),
    Fault(
        "padding not hidden from the cell",
        "scanning.py",
        "xs = where(keep, xs, jax.tree.map(jnp.zeros_like, xs))",
        "pass",
        "tests/test_scan.py -k padding",
    ),
    Fault(
        "padded outputs not zero",
        "scanning.py",
        "ys = where(keep, ys, jax.tree.map(jnp.zeros_like, ys))",
        "pass",
        "tests/test_scan.py -k 'mask or padding'",
    ),
    Fault(
        "reset ignored in reverse",
        "masks.py",
        "return jnp.take_along_axis(flags, following, axis=0)",
        "return jnp.zeros_like(reset)",
        "tests/test_scan.py -k reset",
    ),
    Fault(
        "last output reads the wrong end",
        "scanning.py",
        "end = 0 if reverse else time - 1",
        "end = time - 1",
        PASSING,
    ),
    Fault(
        "last output of the first valid step",
        "scanning.py",
        "order = inputs.keep if reverse else inputs.keep[::-1]",
        "order = inputs.keep[::-1]",
        PASSING,
    ),
    Fault(
        "lengths one too short",
        "masks.py",
        "within = steps < jnp",
        "within = steps + 1 < jnp",
        "tests/test_scan.py -k lengths",
    ),
    Fault(
        "lengths stay narrow",
        "masks.py",
        'return None if value is None else checks.integers("lengths", value, hint)',
        "return None if value is None else jnp.asarray(value)",
        "tests/test_integers.py -k lengths",
    ),
    Fault(
        "clipping leaf by leaf",
        "training/optimizers.py",
        "return numerics.clip_norm(updates, max_norm), ClipState(norm)",
        "return jax.tree.map(lambda g: numerics.clip_norm(g, max_norm), updates), ClipState(norm)",
        PASSING,
    ),
    Fault(
        "norm of the whole batch",
        "cells/clip_cotangent.py",
        "return numerics.clip_norm(gradient, self.norm, axes)",
        "return numerics.clip_norm(gradient, self.norm, 0)",
        PASSING,
    ),
    Fault(
        "bad gradient applied",
        "training/optimizers.py",
        "good = all_finite((updates, new))",
        "good = all_finite(())",
        "tests/test_training.py -k bad",
    ),
    Fault(
        "only the gradient of the last chunk",
        "training/tbptt.py",
        "jax.tree.map(jnp.add, gradient, more)",
        "more",
        "tests/test_training.py -k 'truncated'",
    ),
    Fault(
        "mean over all steps",
        "training/losses.py",
        "jnp.maximum(1, jnp.sum(mask))",
        "jnp.asarray(mask.size)",
        "tests/test_training.py -k 'cross_entropy or squared'",
    ),
    Fault(
        "dropout without scale",
        "layers/dropout.py",
        "jnp.where(kept, xs / (1 - self.rate)",
        "jnp.where(kept, xs",
        "tests/test_layers.py -k dropout",
    ),
    Fault(
        "locked dropout over the batch",
        "layers/over_time.py",
        "axis = xs.ndim - feature_axes(layer)",
        "axis = 0",
        "tests/test_over_time.py -k locked",
    ),
    Fault(
        "merge mean is a sum",
        "layers/recurrent.py",
        '"mean": lambda a, b: (a + b) / 2',
        '"mean": lambda a, b: a + b',
        "tests/test_layers.py -k merges",
    ),
    Fault(
        "residual without its input",
        "layers/compose.py",
        "masks.without_padding(xs, lengths, mask) + ys",
        "ys",
        "tests/test_layers.py -k residual",
    ),
    Fault(
        "tokens after the end",
        "layers/generation.py",
        "token = jnp.where(done, end, token).astype(prime.dtype)",
        "token = token.astype(prime.dtype)",
        "tests/test_generation.py -k end",
    ),
    Fault(
        "a shared zero in an optimizer",
        "training/optimizers.py",
        "return SkipState(tx.init(params), *counts)",
        "return SkipState(tx.init(params), *counts[:1] * 3, counts[3])",
        "tests/test_donation.py -k training",
    ),
    Fault(
        "convolution padded on one side",
        "cells/convolution.py",
        "padding = self.padding.upper()",
        'padding = "SAME"',
        "tests/test_laws.py -k 'numpy and ConvLSTM'",
    ),
    Fault(
        "zoneout keeps the new state",
        "cells/wrappers.py",
        "return m * a + (1 - m) * b",
        "return m * b + (1 - m) * a",
        "tests/test_wrappers.py -k zoneout",
    ),
    Fault(
        "generation by a model that sees the future",
        "layers/over_time.py",
        'if layer.over_time in ("pointwise", "causal"):\n        return\n    culprit',
        "if True:\n        return\n    culprit",
        "tests/test_over_time.py -k future",
    ),
    *[Fault(*row) for row in faults_cells.ROWS],
]
