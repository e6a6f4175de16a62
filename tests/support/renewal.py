"""ARI as a client sees it (RFC 9773), and an operator who moves a certificate's window into the past."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from tests.support.acme_client import b64
from tests.support.ca import REPOSITORY, RunningCa
from tests.support.clients import eventually, load, run

LEAD_SECONDS = 8
"""From the opening of an incident to its end; the command itself takes one or two."""


def window(
    ca: RunningCa, certificate: x509.Certificate, trust: Path | None = None
) -> tuple[datetime, datetime]:
    """Start and end of the suggested window of a certificate; `trust` as in `RunningCa.get`."""
    issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert issuer is not None
    number = certificate.serial_number
    serial = number.to_bytes(number.bit_length() // 8 + 1, "big")  # as in the DER, with its sign
    url = f"{ca.base_url}/acme/renewal-info/{b64(issuer)}.{b64(serial)}"
    told = json.loads(ca.get(url, trust=trust))["suggestedWindow"]
    return datetime.fromisoformat(told["start"]), datetime.fromisoformat(told["end"])


def must_be_replaced(ca: RunningCa, certificate: Path) -> None:
    """An incident in which the certificate has to go; returns when its window is over."""
    until = datetime.now(UTC) + timedelta(seconds=LEAD_SECONDS)
    leaf = load(certificate)
    words = ["incident", "open", "--title", "it has to go", "--renew-by", f"{until:%Y-%m-%dT%H:%M:%SZ}"]
    run(ca.command(*words, f"{leaf.serial_number:x}"), REPOSITORY).ok()
    eventually(lambda: window(ca, leaf)[1] < datetime.now(UTC), LEAD_SECONDS + 5, "the window is over")
