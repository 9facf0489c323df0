"""The page on devices runs as it stands, from the first line to the last."""

import pathlib
import re
import subprocess
import sys

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "devices.md"


def test_the_code_of_the_page_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    check = "assert len(gradients.w_h.sharding.device_set) == 2\n"
    # In a process of its own, whose number of devices is not yet settled.
    code = "\n".join([*blocks, check])
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
