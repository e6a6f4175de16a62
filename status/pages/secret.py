"""The status process's own secret: what its challenges and receipts are recognised by.

All its workers share one file, and a restart finds it again.  Nothing depends on it for long: a new one makes
challenges of the last day stale, and the links to receipts (not the reports) useless.

Must never: be half written when another worker reads it.
"""

from __future__ import annotations

import base64
import hmac
import os
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from core import private_files
from core.randomness import Randomness, token
from core.shared_secret import FILE, LEAST, SharedSecret

_RECEIPT_OCTETS = 16
"""128 bits: a link that nobody guesses."""


class PagesSecret(SharedSecret):
    """Tells ours from made up."""

    SETTING: ClassVar[str] = "the status process"
    FINGERPRINT: ClassVar[bytes] = b"acme-ca pages fingerprint"

    def mark(self, purpose: str, text: str) -> str:
        """22 characters that only we can make for this text; base64url."""
        key = self.derived(f"acme-ca {purpose}".encode(), 32)
        digest = hmac.digest(key, text.encode(), "sha256")[:_RECEIPT_OCTETS]
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def is_mark(self, purpose: str, text: str, mark: str) -> bool:
        """Whether it is ours, in constant time."""
        return hmac.compare_digest(self.mark(purpose, text).encode(), mark.encode("utf-8", "replace"))


def load(directory: Path, randomness: Randomness) -> PagesSecret:
    """The secret in `directory`, drawn by whoever comes first.  Raises `ConfigurationError`."""
    path = directory / FILE
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        mine = directory / f".{FILE}.{token(randomness, 8)}"
        private_files.write(mine, token(randomness, LEAST).encode())
        with suppress(FileExistsError):
            os.link(mine, path)  # whole, and only once: another worker may be as far
        mine.unlink()
    return PagesSecret.load("", directory, randomness)
