"""A network as a list of operations, which JavaScript runs in the page.

JAX traces one step of a network that generates symbols, or a whole function with its
loops. Values that do not depend on the inputs, such as an orthogonal matrix, are
computed here. The rest is a list of operations on arrays that `static/program.js`
supports. So every cell whose step consists of these operations runs in the page,
wrapped or not, and no cell has a second implementation.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np

from experiments.report.constants import Known, Place, Store, encode, kind_of, root
from experiments.report.operations import INLINED, UnknownOperationError, describe
from jrnn.types import State

TOLERANCE = 5e-4  # of probabilities
SMALL = 6_000_000  # bytes of weights up to which they stay in float32


class Pair(NamedTuple):
    """A complex value that the page computes, as its parts."""

    real: Known | Place
    imag: Known | Place


class Writer:
    """The operations and the constants of a program."""

    def __init__(self) -> None:
        self.operations: list[dict[str, Any]] = []
        self.numbers = 0

    def place(self) -> Place:
        """Returns a new number."""
        self.numbers += 1
        return Place(self.numbers - 1)

    def run(self, jaxpr: Any, consts: Any, args: Any) -> list[Any]:
        """Evaluates a jaxpr as far as its values are known, and writes the rest."""
        values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
        values.update(zip(jaxpr.invars, args, strict=True))

        def read(atom: Any) -> Any:
            if isinstance(atom, jax.extend.core.Literal):
                return Known(atom.val)
            return values[atom]

        for eqn in jaxpr.eqns:
            found = self._equation(eqn, [read(atom) for atom in eqn.invars])
            values.update(zip(eqn.outvars, found, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, eqn: Any, args: list[Any]) -> list[Any]:
        name = eqn.primitive.name
        if name in INLINED:
            inner = next(
                eqn.params[key]
                for key in ("jaxpr", "call_jaxpr", "fun_jaxpr")
                if key in eqn.params
            )
            closed = hasattr(inner, "jaxpr")
            consts = [Known(c) for c in inner.consts] if closed else []
            return self.run(inner.jaxpr if closed else inner, consts, args)
        if all(isinstance(arg, Known) for arg in args):
            with jax.debug_nans(False):  # the row of an id out of range is NaN
                found = eqn.primitive.bind(*(arg.value for arg in args), **eqn.params)
            found = found if eqn.primitive.multiple_results else [found]
            if name == "transpose":
                return [Known(found[0], (args[0], eqn.params["permutation"]))]
            return [Known(value) for value in found]
        if name == "complex":
            return [Pair(*args)]
        if name in ("real", "imag") and isinstance(args[0], Pair):
            return [getattr(args[0], name)]
        if any(isinstance(arg, Pair) for arg in args):
            raise UnknownOperationError(f"its step contains {name} of complex numbers")
        if name == "scan":
            return self._scan(eqn, args)
        how = describe(name, eqn.params)
        outs = [self.place() for _ in eqn.outvars]
        shapes = [list(var.aval.shape) for var in eqn.outvars]
        kind = kind_of(eqn.outvars[0].aval.dtype)
        row = {"op": how.pop("op", name), "in": args, "out": outs, "shapes": shapes}
        self.operations.append(row | {"kind": kind} | how)
        return outs

    def _scan(self, eqn: Any, args: list[Any]) -> list[Any]:
        """Writes a loop. What its body reads from outside is in the same numbers."""
        given, inner = eqn.params, eqn.params["jaxpr"]
        outside = args[: given["num_consts"]]
        moving = args[given["num_consts"] :]
        before, self.operations = self.operations, []
        places = [self.place() for _ in moving]
        consts = [Known(value) for value in inner.consts]
        results = self.run(inner.jaxpr, consts, [*outside, *places])
        body, self.operations = _needed(self.operations, results), before
        if any(isinstance(result, Pair) for result in results):
            raise UnknownOperationError("its loop contains complex numbers")
        outs = [self.place() for _ in eqn.outvars]
        row = {"op": "scan", "in": moving, "out": outs, "body": body}
        row |= {"inner": places, "results": results, "carry": given["num_carry"]}
        row |= {name: given[name] for name in ("length", "reverse")}
        row["shapes"] = [list(var.aval.shape) for var in eqn.outvars]
        row["kinds"] = [kind_of(var.aval.dtype) for var in eqn.outvars]
        self.operations.append(row)
        return outs


def export_function(function: Callable[..., Any], *arrays: Any) -> dict[str, Any]:
    """Returns a function of arrays as JSON values: operations and constants.

    Args:
      function: It may contain `jax.lax.scan`.
      *arrays: What it is traced with.

    Raises:
      UnknownOperationError: If the page does not know an operation.
    """
    return _export(jax.make_jaxpr(function)(*arrays), lambda size: False)


def export(
    step: Callable[[State, Any], Any], starts: dict[str, State], limit: int = SMALL
) -> dict[str, Any]:
    """Returns a step as JSON values: operations, constants and states to start from.

    Args:
      step: From a state and an id to the next state and logits [symbols].
      starts: States to start from, of one structure.
      limit: Bytes of weights above which they are stored in float16, unless this moves
        probabilities by more than `TOLERANCE`.

    Raises:
      UnknownOperationError: If the page does not know an operation of the step.
    """
    first = next(iter(starts.values()))
    closed = jax.make_jaxpr(step)(first, jnp.int32(0))

    def short(size: int) -> bool:
        return size > limit and drift(closed, first) < TOLERANCE

    states = {
        name: [encode(np.asarray(leaf), False) for leaf in jax.tree.leaves(state)]
        for name, state in starts.items()
    }
    return {**_export(closed, short), "starts": states}


def _export(closed: Any, short: Callable[[int], bool]) -> dict[str, Any]:
    """Returns a program; `short` is whether a number of bytes is stored in float16."""
    writer = Writer()
    inputs = [writer.place() for _ in closed.jaxpr.invars]
    consts = [Known(value) for value in closed.consts]
    outputs = writer.run(closed.jaxpr, consts, inputs)
    operations = _needed(writer.operations, outputs)
    known = [*_constants(operations, outputs)]
    roots = {id(one.value): np.size(one.value) for one in map(root, known)}
    store = Store(writer.place, short(4 * sum(roots.values())))
    body = [_numbered(row, store) for row in operations]
    return {
        "inputs": [place.number for place in inputs],
        "outputs": [store.number(out) for out in outputs],
        "setup": store.setup,
        "operations": body,
        "constants": store.constants,
        "precision": "float16" if store.short else "float32",
        "bytes": store.bytes,
    }


def drift(closed: Any, state: State, steps: int = 64) -> float:
    """Returns how far weights in float16 move the probabilities of a step.

    Args:
      closed: The jaxpr of a step, whose constants are the weights.
      state: A state to start from.
      steps: The number of symbols that are drawn and read.
    """
    short = [_half(value) for value in closed.consts]
    exact = jax.jit(jax.extend.core.jaxpr_as_fun(closed))
    rounded = jax.jit(
        jax.extend.core.jaxpr_as_fun(jax.extend.core.ClosedJaxpr(closed.jaxpr, short))
    )
    rng, token, most = np.random.default_rng(0), jnp.int32(0), 0.0
    states = [jax.tree.leaves(state)] * 2
    for _ in range(steps):
        outs = [exact(*states[0], token), rounded(*states[1], token)]
        states = [out[:-1] for out in outs]
        p, q = (np.asarray(jax.nn.softmax(out[-1]), float) for out in outs)
        most = max(most, float(np.max(np.abs(p - q))))
        token = jnp.int32(rng.choice(len(p), p=p / p.sum()))
    return most


def _half(value: Any) -> Any:
    """Returns a matrix rounded to float16, in its own dtype; others as they are."""
    if np.ndim(value) < 2 or not jnp.issubdtype(value.dtype, jnp.floating):
        return value
    return value.astype(jnp.float16).astype(value.dtype)


def _needed(operations: list[dict[str, Any]], outputs: list[Any]) -> list[Any]:
    """Returns the operations on which the outputs depend."""
    wanted, kept = {out for out in outputs if isinstance(out, Place)}, []
    for row in reversed(operations):
        if wanted & set(row["out"]):
            kept.append(row)
            wanted |= {arg for arg in _read(row) if isinstance(arg, Place)}
    return kept[::-1]


def _read(row: dict[str, Any]) -> Iterator[Any]:
    """Yields what an operation reads, and what the body of a loop does."""
    yield from row["in"]
    for inner in row.get("body", []):
        yield from _read(inner)
    yield from row.get("results", [])


def _numbered(row: dict[str, Any], store: Store) -> dict[str, Any]:
    """Returns an operation with the numbers of what it reads and writes."""
    found: dict[str, Any]
    found = {key: [store.number(v) for v in row[key]] for key in ("in", "out")}
    if row["op"] == "scan":
        found["body"] = [_numbered(inner, store) for inner in row["body"]]
        found |= {k: [store.number(v) for v in row[k]] for k in ("inner", "results")}
    return row | found


def _constants(operations: list[dict[str, Any]], outputs: list[Any]) -> Iterator[Known]:
    for row in operations:
        yield from (arg for arg in _read(row) if isinstance(arg, Known))
    yield from (out for out in outputs if isinstance(out, Known))
