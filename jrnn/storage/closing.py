"""Objects that hold a file or a lock until they are closed."""

import abc
from typing import Self


class Closing(abc.ABC):
    """Closes itself at the end of a `with` block."""

    @abc.abstractmethod
    def close(self) -> None:
        """Releases what the object holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
