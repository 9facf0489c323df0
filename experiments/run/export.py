"""The command `export`: a trained model for other programs."""

import contextlib
import dataclasses
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import tyro

import jrnn
from experiments.command_line import parse
from experiments.errors import UserError
from experiments.report import sampler_page
from experiments.run import disk, folder
from jrnn.interop import files
from jrnn.storage import named_arrays
from jrnn.types import Layer, Params

_ABOUT = """Writes the model of a run to a file for other programs.

safetensors: the parameters by name, with the task, its options and its vocabulary as
metadata. stablehlo: a compiled function of any batch and time, for
jax.export.deserialize; it takes the input, and for models that run step by step the
state and where to restart it, and needs no parameters. onnx: an ONNX model, for LSTMs,
GRUs and Elman networks. These files are read back and compared with the model before
the command ends; a StableHLO program only on platforms that this machine has. html: a
page with the network, which writes text in a browser."""
TOLERANCE = 1e-4  # of outputs of the file, relative and absolute


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """Options of `export`.

    Attributes:
      run: Folder of a run.
      format: safetensors, stablehlo, onnx or html.
      out: The file to write.
      best: Use the weights with the best held-out score instead of the last ones.
      platforms: Platforms of a StableHLO program.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    format: Literal["safetensors", "stablehlo", "onnx", "html"]
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    best: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    platforms: tuple[Literal["cpu", "cuda", "rocm", "tpu"], ...] = ("cpu",)


def main(prog: str, arguments: list[str]) -> int:
    """Writes the file and checks it."""
    how = parse(Export, prog, arguments, description=_ABOUT)
    if not how.out.parent.is_dir():
        raise UserError(f"the folder of --out {how.out} does not exist: create it.")
    if how.format == "html":
        return page(how)
    run, model, params = folder.trained(how.run, how.best)
    checked = "read back and compared"
    try:
        if how.format == "safetensors":
            safetensors(how.out, run, params)
        elif how.format == "onnx":
            _write(how.out, onnx_model(run, model, params))
        else:
            data, here = stablehlo(run, model, params, how.platforms)
            checked = compared(how.platforms, here)
            _write(how.out, data)
    except (ValueError, NotImplementedError) as error:
        line = " ".join(str(error).split())
        raise UserError(
            f"{how.run} cannot be exported as {how.format}: {line}"
        ) from None
    print(f"{how.out}: {how.out.stat().st_size} bytes, {checked}")
    return 0


def _write(out: Path, data: bytes) -> None:
    with disk.writing(out, len(data)):
        files.write_whole(out, [data])


def page(how: Export) -> int:
    """Writes a page with the network of a run.

    Raises:
      UserError: If the model does not run in a page.
    """
    disk.write_text(how.out, sampler_page(how.run, how.best))
    print(f"{how.out}: {how.out.stat().st_size} bytes, open it in a browser")
    return 0


def safetensors(out: Path, run: folder.Run, params: Params) -> None:
    """Writes the parameters by name.

    Raises:
      UserError: If the name of the file ends otherwise.
    """
    if out.suffix != ".safetensors":
        raise UserError(f"--out must end in .safetensors, got {out}.")
    arrays = named_arrays.flatten(params)
    with disk.writing(out):
        files.save_arrays(out, arrays, metadata(run))
    again, _ = files.load_arrays(out, signed=True)
    _compare({name: np.asarray(array) for name, array in arrays.items()}, again, 0.0)


def metadata(run: folder.Run) -> dict[str, str]:
    """Returns what a file of the model says of the run."""
    values = {"options": run.options.to_json(), **run.data.saved}
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
    return {"task": run.task.name, "jrnn": jrnn.__version__, **texts}


def stablehlo(
    run: folder.Run, model: Any, params: Params, platforms: tuple[str, ...] = ("cpu",)
) -> tuple[bytes, list[str]]:
    """Returns a program with the parameters inside, and where it was compared.

    It is compared with the model on those platforms that this machine has.

    Raises:
      ValueError: If the model cannot be lowered for any batch and time.
    """
    function, likes = program(run, model, params)
    function = jax.jit(function)
    lowered = jax.export.export(function, platforms=platforms)(*likes)
    data = lowered.serialize()
    again = jax.export.deserialize(bytearray(data))
    here = devices(again.platforms)
    for device in here.values():
        for sizes in ({"b": 2, "t": 5}, {"b": 3, "t": 4}):
            with jax.default_device(device):
                given = jax.tree.map(lambda like, s=sizes: example(like, s), likes)
                _compare(function(*given), again.call(*given))
    return bytes(data), [*here]


def devices(platforms: Sequence[str]) -> dict[str, jax.Device]:
    """Returns a device of each platform that this machine has."""
    found = {}
    for platform in platforms:
        with contextlib.suppress(RuntimeError):
            found[platform] = jax.devices(platform)[0]
    return found


def compared(platforms: Sequence[str], here: Sequence[str]) -> str:
    """Says that a program was compared with the model on those platforms that are here.

    Example:
      >>> compared(["cpu", "tpu"], here=["cpu"])
      'read back, compared on cpu only, because this machine has no tpu'
    """
    missing = [platform for platform in platforms if platform not in here]
    if not missing:
        return "read back and compared"
    where = f"compared on {' and '.join(here)} only" if here else "not compared"
    return f"read back, {where}, because this machine has no {' or '.join(missing)}"


def program(
    run: folder.Run, model: Any, params: Params
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Returns a function of arrays, and the symbolic shapes of its arguments.

    A layer that runs step by step is a function of the input, the state by name, and
    flags that restart the state: `(xs, state, reset) -> (state, ys)`. Other layers are
    functions of the input. A task whose model is no layer defines its own function.
    """
    batch, time = jax.export.symbolic_shape("b, t")
    own = run.task.program(model, params, run.data.saved, batch, time)
    if own is not None:
        return own
    size = run.task.input_size
    shape = (batch, time, size) if size else (batch, time)
    xs = jax.ShapeDtypeStruct(shape, jnp.float32 if size else jnp.int32)
    if model.over_time not in ("pointwise", "causal"):
        return lambda xs: model.apply(params, None, xs)[1], (xs,)
    start = jax.eval_shape(lambda p: model.initial_state(p, (batch,)), params)
    reset = jax.ShapeDtypeStruct((batch, time), jnp.bool_)

    def step(xs: Any, state: Any, reset: Any) -> Any:
        before = named_arrays.unflatten(start, state)
        after, ys = model.apply(params, before, xs, reset=reset)
        return named_arrays.flatten(after), ys

    return step, (xs, named_arrays.flatten(start), reset)


def onnx_model(run: folder.Run, model: Any, params: Params) -> bytes:
    """Returns the bytes of an ONNX model, which was run if there is a runtime.

    Raises:
      ValueError: If ONNX has no operator that computes a layer.
      UserError: If onnx is not installed.
    """
    if importlib.util.find_spec("onnx") is None:
        raise UserError("--format onnx needs onnx: `pip install 'jrnn[interop]'`.")
    if not isinstance(model, Layer):
        raise ValueError("its model is not a layer that maps sequences to sequences.")
    from jrnn.interop.onnx import to_model  # noqa: PLC0415  optional

    state = model.over_time == "causal"
    made = to_model(model, params, state=state)
    for name, text in metadata(run).items():
        entry = made.metadata_props.add()
        entry.key, entry.value = name, text
    size = run.task.input_size
    shape = (2, 5, size) if size else (2, 5)
    xs = example(jax.ShapeDtypeStruct(shape, jnp.float32 if size else jnp.int32), {})
    like = jax.eval_shape(lambda p: model.initial_state(p, (2,)), params)
    before = jax.tree.map(lambda leaf: example(leaf, {}), like) if state else None
    after, ys = model.apply(params, before, xs)
    given = {"xs": np.asarray(xs, None if size else np.int64)}
    if state:
        for name, leaf in named_arrays.flatten(before).items():
            given[f"state.{name}"] = np.asarray(leaf)
    named = _run_onnx(made, given)
    finals = {f"final.{k}": v for k, v in named_arrays.flatten(after).items()}
    wanted = {"ys": ys, **(finals if state else {})}
    _compare(wanted, {name: named[name] for name in wanted})
    return made.SerializeToString()


def _run_onnx(made: Any, given: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns the outputs, by ONNX Runtime or else by the reference of onnx."""
    names = [output.name for output in made.graph.output]
    data = made.SerializeToString()
    if importlib.util.find_spec("onnxruntime") is not None:
        from onnxruntime import InferenceSession  # noqa: PLC0415  optional

        session = InferenceSession(data, providers=["CPUExecutionProvider"])
    else:
        from onnx.reference import ReferenceEvaluator  # noqa: PLC0415  optional

        session = ReferenceEvaluator(made)
    return dict(zip(names, session.run(names, given), strict=True))


def example(like: jax.ShapeDtypeStruct, sizes: dict[str, int]) -> Any:
    """Returns random values of a shape whose symbols get these sizes."""
    shape = tuple(sizes.get(str(n), n) for n in like.shape)
    rng = np.random.default_rng(len(shape))
    if jnp.issubdtype(like.dtype, jnp.inexact):
        return jnp.asarray(rng.normal(size=shape), like.dtype)
    return jnp.asarray(rng.integers(0, 2, shape), like.dtype)  # valid ids, or flags


def _compare(wanted: Any, found: Any, tolerance: float = TOLERANCE) -> None:
    """Compares trees.

    Raises:
      ValueError: If they differ.
    """
    for one, other in zip(*map(jax.tree.leaves, (wanted, found)), strict=True):
        if not np.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True):
            largest = np.max(np.abs(np.asarray(one) - np.asarray(other)))
            raise ValueError(
                f"its outputs differ from those of the model by {largest}."
            )
