"""The answers of the index as plain files, for a small site whose web server shall give them out.

A file stands under the canonical form of the GET request: the base64 of an OCSPRequest with one CertID and
nothing else, where each '/' of the base64 is the border of a directory, as a web server sees it that has
unescaped the path.  Requests whose base64 has "//" or ends in "/" have no file: servers join such slashes.
All other forms are the responder's business.

Must never: leave an answer that is over, or older than the index; be on where nobody looks after the keeper.

RFC 6960 appendix A.1; RFC 9919 section 5.
"""

from __future__ import annotations

import base64
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from cryptography.x509 import ocsp

from core import der
from core.clock import Clock
from status.ocsp.index.files import Kept
from status.ocsp.index.index import Index
from status.ocsp.index.records import Frame, answer, key_of, serial_of

MOST = 100_000
"""Files: what is more is left to the responder, which needs none."""

EARLY = 3600
"""Seconds before nextUpdate at which a file goes: caches keep what they got for an hour."""

_log = logging.getLogger(__name__)


class Exported:
    """The files below `root`, which are this process's alone."""

    def __init__(self, root: Path, index: Index, clock: Clock) -> None:
        self._root = root
        self._index = index
        self._clock = clock
        self._count = 0
        self._said = False

    def begin(self) -> None:
        """Make the files those of the index: whatever else is there goes."""
        self._count = len(self._files())
        wanted = {path for each in self._index.all() if (path := self._put(each)) is not None}
        for path in self._files():
            if path not in wanted:
                path.unlink()
        self._count = len(wanted)

    def changed(self, gone: Iterable[bytes], made: Iterable[Kept]) -> None:
        """What is said of the serials `gone` is not true any more, and `made` is new."""
        for serial in gone:
            for hash_name in ("sha1", "sha256"):
                held = self._index.newest(key_of(serial, hash_name))
                if held is not None and (name := name_of(held[0], serial)) is not None:
                    (self._root / name).unlink(missing_ok=True)
        for each in made:
            self._put(each)

    def sweep(self) -> int:
        """Remove what is soon over; how many files are left.  One file is read in 20 us."""
        left = 0
        for path in self._files():
            try:
                until = ocsp.load_der_ocsp_response(path.read_bytes()).next_update_utc
                over = until is None or until.timestamp() - EARLY <= self._clock.latest()
            except ValueError:
                over = True
            if over:
                path.unlink(missing_ok=True)
            left += not over
        self._count = left
        return left

    def _put(self, kept: Kept) -> Path | None:
        frame, record = kept
        name = name_of(frame, serial_of(record.key))
        if name is None or record.next_update - EARLY <= self._clock.latest():
            return None
        path, octets = self._root / name, answer(frame, record).der
        try:
            if path.read_bytes() == octets:
                return path
        except FileNotFoundError:
            if self._count >= MOST:
                self._complain()
                return None
            self._count += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        for made in path.relative_to(self._root).parents:
            (self._root / made).chmod(0o755)  # public, whatever the umask
        temporary = path.parent / f".{path.name}.new"
        with temporary.open("wb") as file:
            file.write(octets)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        os.utime(temporary, (record.this_update, record.this_update))  # becomes Last-Modified
        os.replace(temporary, path)
        return path

    def _complain(self) -> None:
        if not self._said:
            _log.error("status.ocsp_files: %d are there; the responder alone has the other answers", MOST)
        self._said = True

    def _files(self) -> list[Path]:
        return [path for path in self._root.rglob("*") if path.is_file()]


def remove(root: Path) -> None:
    """Remove all files of an export that is off now: nobody would renew them."""
    for each in root.iterdir() if root.is_dir() else ():
        shutil.rmtree(each) if each.is_dir() else each.unlink()


def name_of(frame: Frame, serial: bytes) -> str | None:
    """The path of the file that answers about `serial`; None when it can have none."""
    certificate_id = der.sequence(frame.certificate_id, der.tlv(der.INTEGER, serial))
    request = der.sequence(der.sequence(der.sequence(der.sequence(certificate_id))))
    name = base64.b64encode(request).decode("ascii")
    if "//" in name or name.endswith("/") or max(map(len, name.split("/"))) > 200:
        return None
    return name
