"""The table of planted faults fits the code: each can be planted where it says."""

import ast
import pathlib

import pytest

import jrnn
from tests.faults import FAULTS

PACKAGE = pathlib.Path(jrnn.__file__).parent


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_planted(fault):
    text = (PACKAGE / fault.file).read_text()
    assert text.count(fault.old) == 1, f"{fault.old!r} must occur once in {fault.file}"
    assert fault.new != fault.old
    ast.parse(text.replace(fault.old, fault.new))


def test_names_of_faults_are_distinct():
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names) >= 40
