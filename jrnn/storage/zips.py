"""Opens zip archives that may be damaged or hostile."""

import io
import zipfile

from jrnn.storage.formats import check_count, require

MAX_RATIO = 100  # how far a member of an archive may expand ...
RATIO_FLOOR = 16 << 20  # ... if it is larger than this


def open_archive(data: bytes, limit: int) -> zipfile.ZipFile:
    """Opens an archive in memory.

    Args:
      data: Its bytes.
      limit: The largest size of all members together, in bytes.

    Raises:
      FileError: if there are too many or too large members, or if members overlap,
        repeat a name or are encrypted.
    """
    # Counted before the directory is parsed, because each entry costs memory.
    check_count(data.count(b"PK\x01\x02") - 1, "members")
    archive = zipfile.ZipFile(io.BytesIO(data))
    members = archive.infolist()
    end = total = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        name, size, packed = member.filename, member.file_size, member.compress_size
        total += size
        require(
            size <= RATIO_FLOOR or size <= MAX_RATIO * packed,
            f"{name[:80]!r} must expand at most {MAX_RATIO} times, got {packed} bytes "
            f"that would expand to {size}.",
        )
        require(
            total <= limit,
            f"it would expand to more than {limit} bytes. Pass a larger `max_bytes` if "
            "you trust it.",
        )
        require(
            member.header_offset >= end, f"{name[:80]!r} overlaps the previous member."
        )
        require(not member.flag_bits & 1, f"{name[:80]!r} must not be encrypted.")
        end = member.header_offset + 30 + len(name.encode()) + packed
    names = {member.filename for member in members}
    require(len(names) == len(members), "two of its members have one name.")
    return archive


def check_gapless(data: bytes, members: list[zipfile.ZipInfo]) -> None:
    """Raises unless the members fill the archive.

    A damaged directory may lack a member, which leaves a gap.
    """
    end = 0
    lacks = "its directory lacks a member, so it is damaged. Use another copy."
    for member in sorted(members, key=lambda member: member.header_offset):
        require(member.header_offset == end, lacks)
        name = int.from_bytes(data[end + 26 : end + 28], "little")
        extra = int.from_bytes(data[end + 28 : end + 30], "little")
        end += 30 + name + extra + member.compress_size
    directory = b"PK\x01\x02" if members else b"PK\x05\x06"
    require(data[end : end + 4] == directory, lacks)


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Returns the content of a member, which must have the size that it claims."""
    with archive.open(member) as stream:
        content = stream.read(member.file_size + 1)
    require(
        len(content) == member.file_size,
        f"{member.filename[:80]!r} must have {member.file_size} bytes, got "
        f"{len(content)}.",
    )
    return content
