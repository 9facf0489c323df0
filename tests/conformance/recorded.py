"""Numbers recorded from other implementations, and how to compare with them.

The folder is named by the environment variable JRNN_ORACLES. A case is an .npz file of
`in/...`, `w/...` (weights as the other library has them), `out/...`, `cot/...` (one
cotangent per output), `loss = sum(cot * out)`, and `grad/...`, its gradients.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

ROOT = os.environ.get("JRNN_ORACLES")


@dataclasses.dataclass
class Case:
    """One recorded case; arrays by name without their prefix."""

    name: str
    meta: dict[str, Any]
    inputs: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    cotangents: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    loss: float | None

    @property
    def config(self) -> dict[str, Any]:
        return self.meta["config"]


def every(family: str, pattern: str = "*.npz") -> Any:
    """Parametrises a test over the files of a family; one skip where there are none."""
    found: list[Any] = []
    if ROOT is not None:
        found = sorted(pathlib.Path(ROOT).glob(f"*/{family}/{pattern}"))
    skip = pytest.mark.skip(reason="set JRNN_ORACLES to the folder of recorded cases")
    return pytest.mark.parametrize(
        "path",
        found or [pytest.param(None, marks=skip)],
        ids=lambda path: getattr(path, "stem", "none"),
    )


def load(path: pathlib.Path) -> Case:
    """Reads one case."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, value in arrays.items():
        head, _, rest = name.partition("/")
        parts.setdefault(head, {})[rest] = value
    loss = arrays.get("loss")
    return Case(
        name=path.stem,
        meta=json.loads(str(arrays["meta"])),
        inputs=parts.get("in", {}),
        weights=parts.get("w", {}),
        outputs=parts.get("out", {}),
        cotangents=parts.get("cot", {}),
        gradients=parts.get("grad", {}),
        loss=None if loss is None else float(loss),
    )


def honors(case: Case, options: str, inputs: str) -> None:
    """Raises unless a reader knows every option and every input that a case names.

    Args:
      case: What was recorded.
      options: Names of the options that the reader honors or that are sizes, separated
        by spaces.
      inputs: Names of the inputs, without the number at their end.
    """
    sizes = "seed B T D H source wscale xscale"
    unknown = set(case.config) - set(f"{sizes} {options}".split())
    given = {name.rstrip("0123456789") for name in case.inputs}
    unknown |= given - {name.rstrip("0123456789") for name in inputs.split()}
    assert not unknown, f"{case.name} names {sorted(unknown)}, which no reader honors"


def replay(case: Case, run: Callable[..., dict[str, Any]]) -> None:
    """Compares outputs, loss and all gradients with a function of the foreign arrays.

    Args:
      case: What was recorded.
      run: Takes the weights by their foreign names and the inputs, and returns outputs
        by the recorded names.
    """
    real = {k: v for k, v in case.inputs.items() if np.issubdtype(v.dtype, np.floating)}
    fixed = {k: v for k, v in case.inputs.items() if k not in real}

    @jax.jit
    def both(weights: Any, inputs: Any) -> Any:
        def loss(weights: Any, inputs: Any) -> Any:
            outputs = run(weights, {**inputs, **fixed})
            terms = [jnp.sum(case.cotangents[k] * outputs[k]) for k in case.cotangents]
            return sum(terms), outputs

        return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(weights, inputs)

    as_arrays = lambda tree: {k: jnp.asarray(v) for k, v in tree.items()}
    (loss, outputs), gradients = both(as_arrays(case.weights), as_arrays(real))
    assert set(case.outputs) == set(outputs)
    for name, expected in case.outputs.items():
        close(case, f"out/{name}", outputs[name], expected)
    close(case, "loss", loss, case.loss)
    found = {f"w/{k}": v for k, v in gradients[0].items()}
    found |= {f"in/{k}": v for k, v in gradients[1].items()}
    for name, expected in case.gradients.items():
        close(case, f"grad/{name}", found[name], expected)
    assert {f"w/{name}" for name in case.weights} <= set(case.gradients)


def close(case: Case, name: str, actual: Any, expected: Any) -> None:
    """Raises unless a number is within the tolerance of the recorded case."""
    tolerance = case.meta["tol"]
    np.testing.assert_allclose(
        actual,
        expected,
        rtol=tolerance["rtol"],
        atol=tolerance["atol"],
        err_msg=f"{case.name}: {name}",
    )
