"""Two nested dictionaries that differ anywhere are never taken for equal."""

import copy
import json

import hypothesis
import pytest
from hypothesis import strategies

from jrnn.training.checkpoints.changes import refuse_changes
from jrnn.training.checkpoints.manifest import CheckpointError
from jrnn.training.differences import differences

NAMES = strategies.sampled_from(["a", "b", "a.b", "b.a", '"a.b"', "", "."])
VALUES = strategies.recursive(
    strategies.sampled_from([None, True, False, 0, 1, 0.0, 1.0, "1", float("nan")]),
    lambda inner: (
        strategies.lists(inner, max_size=2)
        | strategies.dictionaries(NAMES, inner, max_size=2)
    ),
    max_leaves=4,
)
TABLES = strategies.dictionaries(NAMES, VALUES, max_size=3)


@hypothesis.settings(derandomize=True, deadline=None, max_examples=300)
@hypothesis.given(TABLES, TABLES)
def test_none_are_found_where_the_text_of_both_is_the_same(old, new):
    same = json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    assert (not differences(old, new)) == same
    assert not differences(old, copy.deepcopy(old))


@pytest.mark.parametrize(
    "old, new, names",
    [
        ({"a": {"b": 1}}, {"a.b": 1}, ["a.b", '"a.b"']),
        ({"a.b": {"c": 1}}, {"a": {"b.c": 1}}, ['"a.b".c', 'a."b.c"']),
        ({"a.b": 1}, {"a.b": 2}, ["a.b"]),
        ({"a": [True]}, {"a": [1]}, ["a"]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1.0}]}, ["a"]),
        ({"a": {}}, {}, ["a"]),
    ],
)
def test_each_is_named(old, new, names):
    found = differences(old, new).values()
    assert [sentence.partition(" was ")[0] for sentence in found] == names
    turned = differences(new, old).values()
    assert [text.partition(" was ")[0] for text in turned] == [*reversed(names)]


@pytest.mark.parametrize(
    ("old", "new", "may_change", "allowed"),
    [
        ({"config.seed": 1}, {"config.seed": 2}, {"config"}, False),
        ({"config.seed": 1}, {"config.seed": 2}, {"config.seed"}, True),
        ({"config": {"seed": 1}}, {"config": {"seed": 2}}, {"config.seed"}, True),
        ({"config": {"seed": 1}}, {"config": {"seed": 2}}, {"config"}, True),
        ({"config": {"seed": 1}}, {"config": {"seed": 2}}, {"seed"}, False),
        ({"a": {"b": 1}, "a.b": 1}, {"a": {"b": 1}, "a.b": 2}, {"a.b"}, True),
        ({"a": {"b": 1}, "a.b": 1}, {"a": {"b": 1}, "a.b": 2}, {"a"}, False),
    ],
)
def test_what_may_change_is_found_by_its_path(old, new, may_change, allowed):
    if allowed:
        assert len(refuse_changes(old, new, may_change)) == 1
    else:
        with pytest.raises(CheckpointError, match="cannot be resumed"):
            refuse_changes(old, new, may_change)
