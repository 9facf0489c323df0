"""Ways to compute a scan, chosen by what the cell declares.

Each file is one kernel with one door, `run`, that takes what `plain.run` takes and
returns what it returns. `plain` is the definition; the others compute the same, faster
or with less memory. `choose` picks one.
"""

from jrnn import checks
from jrnn.kernels import plain as plain
from jrnn.kernels.plain import (
    Inputs as Inputs,
    Options as Options,
    Trajectory as Trajectory,
    project as project,
)
from jrnn.types import Cell

METHODS = {"scan": plain.run}


def choose(method: str, cell: Cell, inputs: Inputs, options: Options):  # type: ignore[no-untyped-def]
    """Returns the kernel that `method` names, or for "auto" the fastest that applies.

    Raises:
      ValueError: if a kernel asked for by name does not exist or cannot run this cell.
    """
    del cell, inputs, options
    checks.one_of("method", method, ["auto", *METHODS])
    return METHODS["scan" if method == "auto" else method]
