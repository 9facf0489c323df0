"""What a run leaves for other programs: event files and profiles; and presets."""

import dataclasses
import json
import struct

import pytest

from experiments import tasks
from experiments.errors import UserError
from experiments.run import commands
from tests.experiments.runs import start


def scalars(folder):
    """Returns the scalars of event files: records of a length, a hash and bytes."""
    events = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = {}
    for file in folder.iterdir():
        data = file.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = events.Event.FromString(data[12 : 12 + size])
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
            data = data[16 + size :]
    return found


def test_event_files_have_the_metrics(finished):
    found = scalars(finished / "events")
    for line in (finished / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        for name in ("loss", "norm", "clipped"):
            assert found[f"train/{name}", row["step"]] == pytest.approx(row[name])
    figures = json.loads((finished / "result.json").read_text())["figures"]
    nats = figures["held_out_nats"]
    assert found["held_out/held_out_nats", 40] == pytest.approx(nats)


def test_a_profile_of_some_updates_is_written(tiny, capsys):
    path = start(dataclasses.replace(tiny, profile=15))
    assert "profile of the updates in" in capsys.readouterr().out
    assert list((path / "profile").rglob("*.xplane.pb"))
    assert "profile" not in (path / "config.json").read_text()


def test_a_preset_gives_other_defaults():
    task = tasks.find("digits")
    options = commands.parse(task, "train", ["--preset", "mnist1d", "--layers", "2"])
    assert (options.data, options.layers) == ("mnist1d", 2)
    options = commands.parse(task, "train", ["--hidden-size", "9", "--preset", "quick"])
    assert (options.hidden_size, options.minutes) == (9, 0.25)
    with pytest.raises(UserError, match="--preset must be one of quick, mnist1d"):
        commands.parse(task, "train", ["--preset", "fast"])
    with pytest.raises(UserError, match="--profile must be at least 1"):
        commands.parse(task, "train", ["--profile", "0"])
