"""What the public CRLs are, for the pages and the manifest that tell of them.

Must never: read a CRL again while its file is the same.

RFC 5280 sections 5.1, 5.2.3.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryptography import x509

from core.unreadable import UNREADABLE
from repo_static.store import Store

_NAME = re.compile(r"crl/[^/]+-[0-9]+\.crl")
_REMEMBERED = 1 << 14

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Crl:
    """A public CRL; times in POSIX seconds."""

    name: str
    size: int
    sha256: str
    number: int
    this_update: int
    next_update: int
    entries: int

    @property
    def issuer(self) -> str:
        """The id of the issuer whose scope it is."""
        return self.name.removeprefix("crl/").rpartition("-")[0]

    @property
    def shard(self) -> int:
        """Its number among the issuer's shards."""
        return int(self.name.removesuffix(".crl").rpartition("-")[2])


def public_crls(store: Store) -> list[Crl]:
    """Every public CRL, by issuer and shard; not a file that is none, which the next CRL replaces."""
    found = [
        _read(store.root, name, store.mark(name)) for name in store.names("crl") if _NAME.fullmatch(name)
    ]
    return sorted((each for each in found if each is not None), key=lambda each: (each.issuer, each.shard))


@lru_cache(_REMEMBERED)
def _read(root: Path, name: str, mark: object) -> Crl | None:
    """`mark` changes with the file: a million entries take 0.2 s, and one CRL of a thousand has changed."""
    content = Store(root).read(name)
    assert content is not None  # CRLs are replaced, never taken away
    try:
        crl = x509.load_der_x509_crl(content)
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except UNREADABLE as error:
        _log.critical("the public file %s is no CRL: %s", name, error)
        return None
    assert crl.next_update_utc is not None  # RFC 5280 section 5.1.2.5, and the updater checked it
    return Crl(
        name,
        len(content),
        hashlib.sha256(content).hexdigest(),
        number,
        int(crl.last_update_utc.timestamp()),
        int(crl.next_update_utc.timestamp()),
        len(crl),
    )
