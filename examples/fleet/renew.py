"""Keeps a fleet's certificates renewed with any ACME client, when the CA asks for it (ARI).

usage: python -m examples.fleet.renew DIRECTORY_URL CERTIFICATES COMMAND ...

CERTIFICATES holds NAME/cert.pem for each name.  COMMAND renews one of them, and exits with 0 when its file is
new; "{name}" and "{replaces}" in it are filled in.  Hand the latter to your client as `replaces` of the new
order (RFC 9773 section 5): by that the CA knows the renewal, and no rate limit holds it up.

    python -m examples.fleet.renew https://ca.example/directory /srv/certificates ./renew {name} {replaces}

It runs until it is ended; what it knows, it learns again after a start.
"""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from cryptography import x509

from examples.fleet.schedule import Certificate, Schedule

AT_ONCE = 8
"""Clients that run at the same time."""

LOOK_EVERY = 600
"""Seconds at most between two looks for certificates that are new here."""

TIMEOUT = 30


class Fleet:
    """The certificates below a directory, and the schedule of their renewals."""

    def __init__(self, renewal_info: str, certificates: Path, command: list[str], schedule: Schedule) -> None:
        self._renewal_info = renewal_info.rstrip("/")
        self._certificates = certificates
        self._command = command
        self._schedule = schedule
        self._known: set[str] = set()

    def look(self, now: int) -> None:
        """Take in the certificates that are new here."""
        for file in sorted(self._certificates.glob("*/cert.pem")):
            if file.parent.name not in self._known:
                self._known.add(file.parent.name)
                self._schedule.add(file.parent.name, *_read(file), now)

    def do(self, now: int) -> None:
        """Ask and renew what is due."""
        for each in self._schedule.questions(now):
            self._ask(each, now)
        due = self._schedule.renewals(now, AT_ONCE)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            done = list(pool.map(self._renew, due))
        for each, good in zip(due, done, strict=True):
            file = self._certificates / each.name / "cert.pem"
            if good and (fresh := _read(file))[0] != each.cert_id:
                self._schedule.renewed(each, *fresh, now)
            else:
                print(f"{each.name} was not renewed and is tried again", file=sys.stderr)
                self._schedule.failed(each, now)

    def _ask(self, each: Certificate, now: int) -> None:
        try:
            with urllib.request.urlopen(f"{self._renewal_info}/{each.cert_id}", timeout=TIMEOUT) as answer:
                told = json.loads(answer.read(65536))
                start, end = (_seconds(told["suggestedWindow"][name]) for name in ("start", "end"))
                wait = int(answer.headers["Retry-After"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            print(f"{each.name}: no renewal information: {error}", file=sys.stderr)
            self._schedule.unanswered(each, now)
        else:
            self._schedule.answered(each, start, end, wait, now)

    def _renew(self, each: Certificate) -> bool:
        words = [word.format(name=each.name, replaces=each.cert_id) for word in self._command]
        return subprocess.run(words, stdin=subprocess.DEVNULL, check=False).returncode == 0


def cert_id(certificate: x509.Certificate) -> str:
    """RFC 9773 section 4.1: the authority's key identifier and the serial number, as DER has it."""
    authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    serial = certificate.serial_number
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return f"{_b64(authority.key_identifier or b'')}.{_b64(octets)}"


def _read(file: Path) -> tuple[str, int]:
    """The CertID, and when two thirds of the life are over."""
    found = x509.load_pem_x509_certificate(file.read_bytes())
    begins, ends = found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()
    return cert_id(found), round(begins + (ends - begins) * 2 / 3)


def _b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def main(directory_url: str, certificates: str, *command: str) -> None:
    """Run until ended."""
    with urllib.request.urlopen(directory_url, timeout=TIMEOUT) as answer:
        renewal_info = json.load(answer)["renewalInfo"]
    schedule = Schedule(random.random)
    fleet = Fleet(renewal_info, Path(certificates), list(command), schedule)
    while True:
        now = int(time.time())
        fleet.look(now)
        fleet.do(now)
        pause = (schedule.next_at() or now + LOOK_EVERY) - time.time()
        time.sleep(min(max(pause, 1), LOOK_EVERY))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
