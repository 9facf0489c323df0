"""Two nested dictionaries that differ anywhere are never taken for equal."""

import copy
import json

import hypothesis
import pytest
from hypothesis import strategies

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
    assert [*differences(old, new)] == names
    assert [*differences(new, old)] == [*reversed(names)]
