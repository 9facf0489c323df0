"""How the cores of a stack of Haiku are ordered and connected."""

from collections.abc import Mapping, Sequence
from typing import Any


def reads_input(layers: list[Any], params: list[Any]) -> bool:
    """Whether each core after the first reads the input of the first as well."""
    inputs = [own.w_x.shape[-2] for own in params]
    outputs = [layer.cell.output_size for layer in layers]
    read = [inputs[0] + size for size in outputs[:-1]]
    return len(layers) > 1 and inputs[1:] == read


def in_order(cores: Mapping[str, Any], order: Sequence[str] | None) -> list[str]:
    """Sorts `lstm`, `lstm_1`, ..., `lstm_10` in the order in which they were made.

    Raises:
      ValueError: if there are none, if their names do not determine their order, or if
        `order` does not name each core once.
    """
    if order is not None:
        found = {core.rpartition("/")[2]: core for core in cores}
        full = [core if core in cores else found.get(core, core) for core in order]
        if sorted(full) != sorted(cores):
            raise ValueError(
                f"order must name each of the cores {sorted(cores)} once, got "
                f"{list(order)}."
            )
        return full
    places = {}
    for core in cores:
        stem, _, number = core.rpartition("_")
        places[core] = (stem, int(number)) if number.isdigit() else (core, 0)
    if len({stem for stem, _ in places.values()}) != 1:
        raise ValueError(
            f"The names {sorted(cores)} do not determine the order of the cores. Pass "
            "`order=` with these names, from the input to the output."
        )
    return sorted(places, key=lambda core: places[core][1])
