"""The names of activations in ONNX, with their alpha, beta and clip."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from jrnn import checks
from jrnn.cells import activations
from jrnn.interop.common.activation_names import ACTIVATIONS
from jrnn.types import Activation

# The fields of a class are alpha and beta in ONNX, in this order.
FUNCTIONS: dict[str, Any] = {
    "Tanh": activations.tanh,
    "Sigmoid": activations.sigmoid,
    "Relu": activations.relu,
    "Softplus": activations.softplus,
    "Softsign": activations.softsign,
    "Affine": activations.Affine,
    "LeakyRelu": activations.LeakyRelu,
    "ThresholdedRelu": activations.ThresholdedRelu,
    "ScaledTanh": activations.ScaledTanh,
    "HardSigmoid": activations.HardSigmoid,
    "Elu": activations.Elu,
}
DEFAULTS = {
    "RNN": ["Tanh"],
    "GRU": ["Sigmoid", "Tanh"],
    "LSTM": ["Sigmoid", "Tanh", "Tanh"],
}
WITHOUT_DEFAULTS = {"Affine", "ScaledTanh"}  # ONNX defines no alpha and beta for them
_BY_LOWER_CASE = {name.lower(): name for name in FUNCTIONS}


def to_attributes(functions: list[Activation]) -> dict[str, Any]:
    """Returns the attributes for a list of activations.

    The lists of alphas and betas contain those of each activation that has any.

    Raises:
      ValueError: if ONNX has no name for an activation.
    """
    names, alphas, betas = [], [], []
    for function in functions:
        name, (*alpha_beta,) = _name(function)
        names.append(name)
        alphas += alpha_beta[:1]
        betas += alpha_beta[1:]
    attributes: dict[str, Any] = {"activations": names}
    if alphas:
        attributes["activation_alpha"] = alphas
    if betas:
        attributes["activation_beta"] = betas
    return attributes


def from_attributes(
    op_type: str, attributes: dict[str, Any], directions: int
) -> list[list[Activation]]:
    """Returns the activations of each direction.

    `clip` bounds the inputs of the gates and the candidate. As in onnxruntime, it does
    not bound the input of an LSTM's output activation.

    Raises:
      ValueError: if a name is unknown, if there are too few or too many names, or if an
        activation lacks an alpha or beta that has no default.
    """
    defaults = DEFAULTS[op_type]
    names = attributes.get("activations") or defaults * directions
    needed = len(defaults) * directions
    checks.count("activations", names, needed, f"{len(defaults)} per direction")
    alphas = list(attributes.get("activation_alpha", ()))
    betas = list(attributes.get("activation_beta", ()))
    functions = [_function(name, alphas, betas) for name in names]
    clip = attributes.get("clip")
    if clip is not None:
        if not clip > 0:
            raise ValueError(
                f"clip must be positive, got {clip}. Omit it to clip nothing."
            )
        unclipped = 2 if op_type == "LSTM" else None  # the last of three
        functions = [
            each if index % 3 == unclipped else activations.Clipped(each, float(clip))
            for index, each in enumerate(functions)
        ]
    size = len(defaults)
    return [functions[d * size : (d + 1) * size] for d in range(directions)]


def unclip(functions: list[Activation]) -> tuple[list[Activation], dict[str, Any]]:
    """Returns the functions inside of clipped activations, and the attribute `clip`.

    Raises:
      ValueError: unless all are clipped by one bound, or none is clipped.
    """
    bounds = {getattr(function, "bound", None) for function in functions}
    if bounds == {None}:
        return functions, {}
    if len(bounds) > 1:
        raise ValueError(
            f"ONNX clips the inputs of all gates by one bound, got {bounds}. Use one "
            "bound for all activations of the cell."
        )
    return [getattr(each, "activation") for each in functions], {"clip": bounds.pop()}  # noqa: B009


def _name(function: Activation) -> tuple[str, Sequence[float]]:
    for aliases in ACTIVATIONS.values():
        if any(function is alias for alias in aliases):
            function = aliases[0]
    if function is activations.identity:
        function = activations.Affine()
    for name, known in FUNCTIONS.items():
        if function is known:
            return name, ()
        if isinstance(known, type) and isinstance(function, known):
            return name, dataclasses.astuple(function)  # type: ignore[call-overload]
    if isinstance(function, activations.Clipped):
        raise ValueError(
            f"ONNX cannot clip only {function!r}. Its `clip` bounds the inputs of the "
            "gates and the candidate, but not of the output activation. Use an "
            "`output_activation` that is not clipped."
        )
    raise ValueError(
        f"ONNX has no activation {getattr(function, '__name__', function)!r}. Use one "
        f"of {sorted(FUNCTIONS)}, which all convert."
    )


def _function(name: str, alphas: list[float], betas: list[float]) -> Activation:
    """Builds an activation. Takes its alpha and beta from the front of the lists."""
    checks.one_of("activations", name.lower(), _BY_LOWER_CASE)
    known = FUNCTIONS[_BY_LOWER_CASE[name.lower()]]
    if not isinstance(known, type):
        return known
    fields = dataclasses.fields(known)
    if _BY_LOWER_CASE[name.lower()] in WITHOUT_DEFAULTS and not (alphas and betas):
        raise ValueError(
            f"ONNX defines no default alpha and beta for {name}, and "
            "`activation_alpha` or `activation_beta` has no entry for it. Add both, as "
            "the runtime that made the model assumes them."
        )
    values = {
        field.name: float(given.pop(0))
        for field, given in zip(fields, (alphas, betas), strict=False)
        if given
    }
    return known(**values)
