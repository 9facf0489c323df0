"""Weights of other runs and files, to start a run from."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.errors import UserError
from experiments.run import folder
from experiments.run.task import Data
from jrnn.interop import files
from jrnn.storage import named_arrays
from jrnn.types import Params

_SHOWN = 8  # differences that an error lists


def read(path: Path, template: Params, options: Any, data: Data) -> Params:
    """Returns the weights of a run, or of a file of named arrays.

    Args:
      path: The folder of a run, or a .safetensors or .npz file of another program.
      template: Parameters of the model that will be trained.
      options: Its options.
      data: What it will be trained on, with a vocabulary if there is one.

    Raises:
      UserError: If they do not fit the model; the message lists the differences.
    """
    file = folder.weights_file(path)
    try:
        file.stat()  # a file that is missing has no wrong suffix
        arrays, texts = files.load_arrays(file)
    except OSError as error:
        raise UserError(f"--weights {file}: {error.strerror}.") from None
    except (files.FileError, ImportError) as error:
        raise UserError(f"--weights {error}") from None
    wrong = differences(arrays, named_arrays.flatten(template))
    if path.is_dir():
        run = folder.read(path)
        if run.options.cell != options.cell:
            wrong.insert(
                0, f"the cell is {run.options.cell} and must be {options.cell}"
            )
        wrong += vocabularies(run.data.saved, data.saved)
    elif "vocabulary" in texts:
        wrong += vocabularies(texts, data.saved)
    if wrong:
        more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        raise UserError(
            f"--weights {file} do not match the model: "
            f"{'; '.join([*wrong[:_SHOWN], *more])}. Change the options or the data."
        )
    return files.restore(template, arrays, cast=True)


def check_unchanged(run: Path, given: Path | None) -> None:
    """Checks that the file of `--weights` is still what a run started from.

    Raises:
      UserError: If it has changed.
    """
    start = folder.read(run).start
    if given is not None and start not in (None, folder.weights_hash(given)):
        raise UserError(
            f"--weights {given} has changed since {run} started from it: restore the "
            "file, or start a new run."
        )


def differences(found: dict[str, np.ndarray], wanted: dict[str, Any]) -> list[str]:
    """Returns in words how named arrays differ in their names and shapes.

    Example:
      >>> one = {"a": np.zeros(2), "b": np.zeros(3)}
      >>> differences(one, {"a": np.zeros((2, 1)), "c": np.zeros(3)})
      ['a is [2] and must be [2, 1]', 'c is missing', 'b is not in the model']
    """
    shapes = [
        f"{name} is {[*found[name].shape]} and must be {[*like.shape]}"
        if name in found
        else f"{name} is missing"
        for name, like in wanted.items()
        if name not in found or found[name].shape != like.shape
    ]
    return shapes + [f"{name} is not in the model" for name in found.keys() - wanted]


def vocabularies(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Returns in words how vocabularies differ: an id must mean the same token."""
    read = [json.loads(saved.get("vocabulary", "{}")) for saved in (found, wanted)]
    one, other = ([*v.get("specials", []), *v.get("tokens", [])] for v in read)
    if one == other:
        return []
    same = sum(a == b for a, b in zip(one, other, strict=False))
    return [
        f"the vocabularies have {len(one)} and {len(other)} tokens, of which {same} "
        "have the same id"
    ]
