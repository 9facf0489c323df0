"""The files of a run that the report reads."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from experiments.errors import UserError
from experiments.run import folder, results, terminal
from jrnn.interop import files


class Recorded(NamedTuple):
    """What the folder of a run holds. Lists are empty if nothing is recorded."""

    path: Path
    run: folder.Run
    metrics: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    gradients: list[dict[str, Any]]
    result: dict[str, Any]  # empty before the end
    device: str

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.path.resolve().name

    @property
    def words(self) -> str:
        """The score in words, the last one if the run is not finished."""
        last = self.samples[-1] if self.samples else {}
        return self.result.get("words") or last.get("words", "not scored yet")

    @property
    def trained(self) -> str:
        """How long the run has trained, in words."""
        if not self.metrics:
            return "not trained yet"
        last = self.metrics[-1]
        updates = terminal.amount(last["step"], "update")
        return f"{updates} in {terminal.clock(last['seconds'])} on {self.device}"

    @property
    def like_results(self) -> results.Result:
        """The run as `results` groups and repeats it."""
        return results.Result(self.run, {}, {}, 0, 0.0, "")


def read(path: Path) -> Recorded:
    """Reads what a run has recorded.

    Raises:
      UserError: If there is no run.
    """
    sessions = _value(path / "env.json", [])
    return Recorded(
        path=path,
        run=folder.read(path),
        metrics=_rows(path / "metrics.jsonl", {"step", "seconds", "loss", "norm"}),
        samples=_rows(path / "samples.jsonl", {"step", "words", "text"}),
        gradients=_rows(path / "gradients.jsonl", {"step", "norms"}),
        result=_value(path / "result.json", {}),
        device=sessions[-1].get("devices", "") if sessions else "",
    )


def _value(file: Path, default: Any) -> Any:
    """Returns the content of a JSON file, or the default if there is none."""
    try:
        found = json.loads(files.read_regular(file))
    except FileNotFoundError:
        return default
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be used: {error}") from None
    return found if isinstance(found, type(default)) else default


def _rows(file: Path, needed: set[str]) -> list[dict[str, Any]]:
    """Returns the lines of a file that hold the needed values."""
    try:
        lines = files.read_regular(file).decode("utf-8", "replace").split("\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{file} cannot be used: {error.strerror}.") from None
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # the last line of a run that was killed
            continue
        if isinstance(row, dict) and needed <= set(row):
            rows.append(row)
    return rows
