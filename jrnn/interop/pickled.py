"""PyTorch's own files: pickles, read as tensors alone or not at all."""

import importlib.util
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from jrnn.interop.formats import (
    DTYPES,
    Arrays,
    Metadata,
    check_arrays,
    check_name,
    open_archive,
    require,
)


def parse_pt(data: bytes, limit: int) -> tuple[Arrays, Metadata]:
    """Reads the bytes of a `.pt` file: a dictionary of tensors, and nothing else."""
    installed = importlib.util.find_spec("torch") is not None
    require(installed, "reading .pt files needs PyTorch; .safetensors does not.")
    import torch  # noqa: PLC0415  optional

    version = tuple(int(n) for n in torch.__version__.split(".")[:2])
    require(
        version >= (2, 10),
        f"reading .pt files is safe from PyTorch 2.10 on, this is {torch.__version__}. "
        "Upgrade it, or convert the file to .safetensors where you trust it.",
    )
    with open_archive(data, limit) as archive:  # PyTorch itself does not look
        damaged = archive.testzip()
    require(damaged is None, f"the checksum of {damaged!r} is wrong: it is damaged.")
    found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    plain = isinstance(found, Mapping) and all(
        isinstance(tensor, torch.Tensor) for tensor in found.values()
    )
    require(plain, "it is no dictionary of tensors; save `module.state_dict()`.")
    arrays = {name: _from_torch(torch, name, tensor) for name, tensor in found.items()}
    check_arrays(arrays)
    return arrays, {}


def _from_torch(torch: Any, name: Any, tensor: Any) -> np.ndarray:
    check_name(name)
    require(
        tensor.layout == torch.strided and not tensor.is_quantized,
        f"{name} is no plain dense tensor.",
    )
    needed = tensor.numel() * tensor.element_size()
    require(  # a view that repeats one number costs nothing in the file
        needed <= tensor.untyped_storage().nbytes(),
        f"{name} {list(tensor.shape)} is larger than what the file holds for it.",
    )
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(DTYPES["BF16"])
    return tensor.numpy()
