"""How a person hands over a passphrase.

Must never: take one from the command line or the environment, or show one.
"""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from core.errors import ConfigurationError


def passphrase_of(file: Path | None, whose: str, *, new: bool = False) -> str:
    """The passphrase of `whose`: from `file`, the terminal (twice when it is `new`), or a line of a pipe.

    Raises `ConfigurationError` when there is none to be had.
    """
    if file is not None:
        try:
            return file.read_text().rstrip("\n")
        except OSError as error:
            raise ConfigurationError(f"--passphrase-file: cannot read {file} ({error.strerror})") from error
    if not sys.stdin.isatty():
        line = sys.stdin.readline().rstrip("\n")
        if not line:
            raise ConfigurationError(
                f"there is no terminal to ask on for the passphrase of {whose}: name --passphrase-file"
            )
        return line
    asked = getpass.getpass(f"passphrase of {whose}: ")
    if new and getpass.getpass("again: ") != asked:
        raise ConfigurationError("the two passphrases differ: once more")
    return asked
