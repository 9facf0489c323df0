"""Source code of Python, and what each of its characters belongs to."""

import io
import keyword
import sysconfig
import tokenize
from pathlib import Path

import numpy as np

from experiments.errors import UserError

TAGS = ("space", "keyword", "name", "number", "string", "comment", "operator")
SIGNS = ' KN0"#.'  # of the tags, when they are shown
KINDS = {
    tokenize.NAME: "name",
    tokenize.NUMBER: "number",
    tokenize.STRING: "string",
    tokenize.COMMENT: "comment",
    tokenize.OP: "operator",
}
LONGEST = 100_000  # characters of a module; those that are longer are tables


def modules(folder: Path | None) -> list[tuple[str, np.ndarray]]:
    """Returns the texts of the modules in a folder, in order of name, and their tags.

    Args:
      folder: Without its subfolders; None for the standard library.

    Raises:
      UserError: If there are fewer than two.
    """
    folder = Path(sysconfig.get_path("stdlib")) if folder is None else folder
    found = []
    for path in sorted(folder.glob("*.py")):
        try:
            text = path.read_text("utf-8")
            if 0 < len(text) <= LONGEST:
                found.append((text, tags_of(text)))
        except (OSError, ValueError, SyntaxError, tokenize.TokenError):
            continue  # not source code of this version of Python
    if len(found) < 2:
        raise UserError(
            f"{folder} has {len(found)} files of Python source code, but at least 2 "
            "are needed: one to train on, and one to score."
        )
    return found


def tags_of(source: str) -> np.ndarray:
    """Returns the tag of each character of Python source code.

    Raises:
      SyntaxError: If it is not Python.
      tokenize.TokenError: If it ends too early.

    Example:
      >>> "".join(SIGNS[n] for n in tags_of("if x1: y = 'a'  # b"))
      'KK NN. N . \"\"\"  ###'
    """
    lengths = [len(line) + 1 for line in source.split("\n")]
    starts = np.cumsum([0, 0, *lengths])  # of line 1, 2, ...; the first is not used
    tags = np.zeros(len(source), np.int32)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[token.type]
        kind = KINDS.get(token.type, "space")
        if name.startswith(("FSTRING", "TSTRING")):  # several tokens since Python 3.12
            kind = "string"
        elif kind == "name" and keyword.iskeyword(token.string):
            kind = "keyword"
        (row, column), (last_row, last_column) = token.start, token.end
        first, last = starts[row] + column, starts[last_row] + last_column
        tags[first:last] = TAGS.index(kind)
    return tags
