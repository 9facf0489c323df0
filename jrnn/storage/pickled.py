"""Reads `.pt` files of PyTorch, which are pickles, if they contain only tensors."""

import importlib.util
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from jrnn.storage.formats import (
    DTYPES,
    Arrays,
    Metadata,
    check_arrays,
    check_name,
    require,
)
from jrnn.storage.zips import open_archive


def parse(data: bytes, limit: int) -> tuple[Arrays, Metadata]:
    """Reads the bytes of a `.pt` file, which must be a dictionary of tensors."""
    installed = importlib.util.find_spec("torch") is not None
    require(installed, "reading it needs PyTorch. Install it, or use .safetensors.")
    import torch  # noqa: PLC0415  optional

    version = tuple(int(n) for n in torch.__version__.split(".")[:2])
    require(
        version >= (2, 10),
        f"reading it safely needs PyTorch 2.10 or later, got {torch.__version__}. "
        "Upgrade PyTorch, or convert the file to .safetensors if you trust it.",
    )
    require(
        data.startswith(b"PK"),
        "it is not a zip archive. It is a legacy file of PyTorch, from before 1.6 or "
        "saved with `_use_new_zipfile_serialization=False`, or not a PyTorch file. "
        "If you trust it, load it with PyTorch and save it again.",
    )
    with open_archive(data, limit) as archive:  # PyTorch does not check this itself
        damaged = archive.testzip()
    require(
        damaged is None,
        f"the checksum of {damaged!r} is wrong, so it is damaged. Use another copy.",
    )
    found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    plain = isinstance(found, Mapping) and all(
        isinstance(tensor, torch.Tensor) for tensor in found.values()
    )
    entries = list(found)[:8] if isinstance(found, Mapping) else type(found).__name__
    require(
        plain,
        f"it must be a dictionary of tensors, got {entries}. Save "
        "`module.state_dict()` instead.",
    )
    arrays = {name: _to_numpy(torch, name, tensor) for name, tensor in found.items()}
    check_arrays(arrays)
    return arrays, {}


def _to_numpy(torch: Any, name: Any, tensor: Any) -> np.ndarray:
    check_name(name)
    require(
        tensor.layout == torch.strided and not tensor.is_quantized,
        f"{name} must be a plain dense tensor, got {tensor.layout}. Call `to_dense()` "
        "or `dequantize()` before saving it.",
    )
    needed = tensor.numel() * tensor.element_size()
    stored = tensor.untyped_storage().nbytes()
    require(  # a view that repeats one element takes no space in the file
        needed <= stored,
        f"{name} {list(tensor.shape)} must have its {needed} bytes in the file, got "
        f"{stored}. Call `contiguous()` before saving it.",
    )
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(DTYPES["BF16"])
    return tensor.numpy()
