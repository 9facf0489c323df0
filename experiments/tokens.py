"""The command `tokens`: prepares a text that does not fit in memory."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from experiments.command_line import parse
from experiments.errors import UserError
from experiments.run import terminal
from jrnn.text import UNK, Vocabulary, read_pieces, write_tokens

_ABOUT = """Writes a text as a file of tokens, from which `train char_lm --text OUT`
reads batches. The text and the tokens need not fit in memory. The text is read twice:
to count its characters, and to look up each of them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokens:
    """Options of the command.

    Attributes:
      file: The text, in UTF-8.
      out: The file to write. Default: FILE.tokens.
      limit: The number of characters to keep, the most frequent ones; all others become
        <unk>.
    """

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE")]
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    limit: int = 8192


def main(prog: str, arguments: list[str]) -> int:
    """Writes a token file.

    Raises:
      UserError: If the text cannot be read, is empty, is not UTF-8 or would be
        overwritten, or the disk is full.
    """
    how = parse(Tokens, prog, arguments, description=_ABOUT)
    out = how.out or Path(f"{how.file}.tokens")
    if out.suffix != ".tokens":
        raise UserError(f"--out must end with .tokens, got {out}.")
    try:
        if out.exists() and out.samefile(how.file):
            raise UserError(f"{out} is the text itself: pass another file with --out.")
        if not any(read_pieces(how.file)):
            raise UserError(f"{how.file} is empty.")
        with terminal.waiting("counting characters") as progress:
            pieces = read_pieces(how.file, progress)
            vocabulary = Vocabulary.build(pieces, limit=how.limit, specials=(UNK,))
        size = sum(vocabulary.counts)
        with terminal.waiting(f"writing {out}") as progress:
            pieces = read_pieces(how.file, progress)
            write_tokens(out, pieces, vocabulary, size)
    except OSError as error:
        where = error.filename or out
        raise UserError(f"{where}: {error.strerror or error}.") from None
    except ValueError as error:
        raise UserError(str(error)) from None
    terminal.fact("characters", f"{size:,}, {len(vocabulary)} different ones")
    terminal.fact("tokens", f"{out}, {out.stat().st_size:,} bytes")
    terminal.fact("train", f"python -m experiments train char_lm --text {out}")
    return 0
