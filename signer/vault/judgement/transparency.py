"""Do the SCTs fulfil the policy?  The vault's own answer, from the signed log list and the logs' signatures.

So nobody who takes over the worker gets a certificate that works and is in no log: a precertificate is
useless by its poison, and its certificate is signed only over SCTs that this module has verified.

Must never: believe a log that the list does not call usable for this notAfter; stop anything but leaves when
there is no list (CRLs and OCSP go on).

RFC 6962 section 3.2; Chrome CT policy; docs/adr/0010.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography import x509

from core.clock import Clock
from core.errors import Refused
from core.settings import CtMode, Settings
from signer.ct import sct, tbs
from signer.ct.log_list import Log, LogList, LogLists, must_be_young
from signer.ct.policy import policy_for
from signer.ct.verification import verify

MAX_SCTS = 8
"""Three are wanted; a caller may not fill a certificate with more."""


class Transparency:
    """Judges SCTs by the list in force."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._rules = settings.ca.rules
        self._lists = LogLists(settings.ct, clock) if settings.ct.mode is CtMode.ON else None

    def must_suffice(
        self, precertificate: bytes, issuer_spki: bytes, scts: Sequence[bytes], signed_at: int, now: int
    ) -> None:
        """Require SCTs of `precertificate` (DER, signed at `signed_at`) that fulfil the policy at `now`.

        `issuer_spki` is a SubjectPublicKeyInfo, `scts` are encoded.  Raises `Refused` ("scts.*"), and
        `TransientError` when there is no log list that may be used.
        """
        if len(scts) > MAX_SCTS:
            raise Refused("scts.number", f"{len(scts)} SCTs are more than any certificate needs")
        usable = {log.id: log for log in self._current(now).logs}
        parsed = x509.load_der_x509_certificate(precertificate)
        begins, ends = (
            int(at.timestamp()) for at in (parsed.not_valid_before_utc, parsed.not_valid_after_utc)
        )
        entry = sct.precert_entry(
            hashlib.sha256(issuer_spki).digest(), tbs.unpoisoned(parsed.tbs_certificate_bytes)
        )
        logs: list[Log] = []
        for each in scts:
            try:
                read = sct.decode(each)
                log = usable.get(read.log_id)
                if log is None or not log.takes(ends, now) or log in logs:
                    raise ValueError("it is of no usable log, or of one log twice")
                verify(read, log, sct.ENTRY_PRECERT, entry, since=signed_at, now=now)
            except ValueError as error:
                raise Refused("scts.untrue", f"an SCT does not count: {error}; collect another") from error
            logs.append(log)
        if not policy_for(ends - begins + 1, now).fulfilled(logs):
            raise Refused("scts.number", f"{len(logs)} SCTs do not fulfil the policy: collect more")

    def _current(self, now: int) -> LogList:
        if self._lists is None:
            raise Refused("precertificate.off", "Certificate Transparency was turned off: begin without")
        found = self._lists.current()
        must_be_young(found, self._rules, now)
        return found
