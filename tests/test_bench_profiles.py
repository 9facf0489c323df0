"""A profile counts what runs on the device, and the time in which nothing does."""

import jax
import pytest

from experiments.bench import profiles


def trace(*planes):
    """Returns a trace of planes of lines of events (name, start, duration), in us."""
    text = ""
    for name, lines in planes:
        text += f'planes {{ name: "{name}"\n'
        names = sorted({event[0] for events in lines.values() for event in events})
        for key, event in enumerate(names, 1):
            value = f'{{ id: {key} name: "{event}" }}'
            text += f"event_metadata {{ key: {key} value {value} }}\n"
        for line, events in lines.items():
            text += f'lines {{ name: "{line}" timestamp_ns: 5000\n'
            for event, start, duration in events:
                at = f"offset_ps: {start * 10**6} duration_ps: {duration * 10**6}"
                text += f"events {{ metadata_id: {names.index(event) + 1} {at} }}\n"
            text += "}\n"
        text += "}\n"
    return jax.profiler.ProfileData.from_text_proto(text)


def test_streams_of_a_gpu():
    compute = [("gemm", 0, 4), ("add", 10, 2), ("gemm", 20, 4)]
    copies = [("copy", 3, 3), ("copy", 11, 4)]
    gpu = {
        "Stream #13(Compute)": compute,
        "Stream #14(MemcpyD2D)": copies,
        "XLA Ops": [("while", 0, 24)],  # what the kernels belong to
    }
    host = ("/host:CPU", {"python": [("call", 0, 90)]})
    found = profiles.read(trace(host, ("/device:GPU:0", gpu)))
    assert found.operations == 5
    assert found.busy == pytest.approx((6 + 5 + 4) * 1e-6)
    assert found.span == pytest.approx(24e-6)
    assert [(name, n) for name, n, _ in found.longest] == [
        ("gemm", 2),
        ("copy", 2),
        ("add", 1),
    ]
    assert found.longest[0][2] == pytest.approx(8e-6)


def test_a_loop_of_a_tpu_is_not_counted_beside_its_body():
    ops = [("copy", 0, 1), ("while", 1, 9), ("dot", 1, 2), ("add", 5, 1), ("dot", 8, 2)]
    tpu = {"XLA Ops": ops, "XLA Modules": [("jit_run", 0, 12)], "Steps": []}
    found = profiles.read(trace(("/device:TPU:0", tpu)))
    assert found.operations == 4
    assert found.busy == pytest.approx(6e-6) and found.span == pytest.approx(10e-6)


def test_a_trace_without_operations():
    assert profiles.profile(lambda: None) is None
    assert profiles.read(trace(("/device:GPU:0", {"Steps": [("1", 0, 9)]}))) is None
