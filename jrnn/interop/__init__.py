"""Models, weights and states of other libraries and formats.

    torch, keras, flax, haiku, equinox   one folder for each library
    onnx                                 models made of ONNX operators
    files                                weights and models on disk
    export                               models as StableHLO

Each of these is imported on first use, so `import jrnn` needs none of the libraries:
`jrnn.interop.torch.from_state_dict(...)`. In the folder of a library, `weights`
converts arrays and does not import the library; `modules` (in Flax: `linen` and `nnx`)
defines modules of the library. All public names are available in the folder itself.
"""

from jrnn.interop.common.lazy import lazy

__getattr__, __dir__ = lazy(
    __name__,
    modules=(
        "equinox",
        "export",
        "files",
        "flax",
        "haiku",
        "keras",
        "onnx",
        "torch",
    ),
)
