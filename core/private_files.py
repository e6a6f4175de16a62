"""Files that hold a secret: for their owner alone, and on the disk before anybody relies on them.

Must never: read a secret that others could have read, or write over one.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from core.durable import sync_directory
from core.errors import ConfigurationError


def read(path: Path, remedy: str) -> bytes:
    """The octets of a file that is for its owner alone.  Raises `ConfigurationError`."""
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ConfigurationError(
                    f"{path} is open to others: chmod 600 it, and think about who read it"
                )
            return file.read()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path} ({error.strerror}): {remedy}") from error


def write(path: Path, content: bytes) -> None:
    """Written once, for the owner alone, and on the disk before we go on.  Raises `FileExistsError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_directory(path.parent)
