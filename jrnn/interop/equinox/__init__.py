"""Equinox: weights and states of its cells, and jrnn's modules for Equinox.

Conversions of weights do not import Equinox; `EquinoxCell` and `EquinoxLayer` do.
"""

from typing import TYPE_CHECKING

from jrnn.interop.common.lazy import lazy
from jrnn.interop.equinox.weights import (
    from_module as from_module,
    from_params as from_params,
    state_from_equinox as state_from_equinox,
    state_to_equinox as state_to_equinox,
    to_module as to_module,
    to_params as to_params,
)

if TYPE_CHECKING:
    from jrnn.interop.equinox.modules import (
        EquinoxCell as EquinoxCell,
        EquinoxLayer as EquinoxLayer,
    )

__getattr__, __dir__ = lazy(
    __name__, members={"EquinoxCell": "modules", "EquinoxLayer": "modules"}
)
