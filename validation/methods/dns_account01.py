"""The dns-account-01 challenge: as dns-01, below a label of the account's own.

Several accounts, of one CA or of many, can so keep their records side by side, and each delegate its own
label.  The label follows from the account URL, which must therefore never change (acme.base_url).

draft-ietf-acme-dns-account-label-00 (the Baseline Requirements name this revision); BR 3.2.2.4.21.
"""

from __future__ import annotations

import base64
import hashlib

from validation.challenge import Challenge, Shown, Tools
from validation.methods import dns01, txt
from validation.verdict import Trace

LABEL_OCTETS = 10
"""Of the digest: 16 characters of base32, without padding."""


async def check(challenge: Challenge, tools: Tools, trace: Trace) -> Shown:
    """Returns when one TXT record holds the digest.  Raises `CheckFailed`, `TransientError`."""
    await txt.require_digest(record(challenge.name, challenge.account_url), challenge, tools, trace)
    return Shown()


def record(name: str, account_url: str) -> str:
    """Where the TXT record stands."""
    return f"{account_label(account_url)}.{dns01.record(name)}"


def account_label(account_url: str) -> str:
    """The account's label, "_" included (section 3.2 of the draft)."""
    digest = hashlib.sha256(account_url.encode()).digest()
    return "_" + base64.b32encode(digest[:LABEL_OCTETS]).decode("ascii").lower()
