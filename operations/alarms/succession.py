"""Follows the hierarchy while the app runs: chains, the public tree, an alarm before an issuer is too old.

A ceremony seals a new hierarchy and the vault starts on it; the app sees that within a minute, without a
restart of its own.  An issuing CA that nears its end is told of long before leaves must become shorter: in
the log, as a metric, and by `acme-server status`.

Must never: take an issuer away; what was signed under it is asked for as long as it lives.

RFC 8555 section 7.4.2; BR 6.3.2; CPS 5.6 (key changeover), 6.3.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client import Gauge

from core.clock import Clock
from core.data_directory import DataDirectory
from core.errors import CaError, HaltIssuance
from core.loops import for_ever
from core.metrics import REGISTRY
from core.settings import Settings
from repo_static import publisher
from repo_static.store import NotPublished, Store
from signer.api import Description, IssuerInfo, IssuerState, KeyUse
from signer.succession import Outlook, outlook

LOOK_EVERY = 10
"""Seconds between two looks at the vault's description, which it has at hand."""

ALARM_EVERY = 86400
"""Seconds between two alarms about the same thing: read daily, and no noise between."""

ROOT_CRL_NOTICE = 60 * 86400
"""Seconds: two of the ten months that a root's CRL lasts."""

FULL_LENGTH = Gauge(
    "acme_issuer_full_length_seconds",
    "For how long leaves of full length can still be issued.",
    ("profile", "family"),
    registry=REGISTRY,
)

_log = logging.getLogger(__name__)


class Succession:
    """`chains` maps an issuer id to its chains in PEM, the default one first, trust anchors left out.

    `on_change` is called after each new hierarchy: a new issuer needs its first CRL.
    """

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._known: Description | None = None
        self._alarm_at = 0
        self.chains: dict[str, tuple[bytes, ...]] = {}
        self.on_change: Callable[[], None] = lambda: None

    def follow(self, description: Description) -> None:
        """Take over a hierarchy: chains for subscribers, then the public tree.

        Raises: `NotPublished` when a public file would change that must not.
        """
        self.chains |= {issuer.id: _pem_chains(issuer) for issuer in description.issuers}
        publisher.publish(self._store, description, self._settings)
        self._known = description
        self._alarm_at = 0
        self._judge(description)
        self.on_change()

    def chain_of(self, certificate: bytes) -> bytes:
        """The default chain of a certificate (DER) of ours, in PEM.  Raises `HaltIssuance` for another's."""
        issued = x509.load_der_x509_certificate(certificate)
        for issuer in self._known.issuers if self._known else ():
            with contextlib.suppress(ValueError, TypeError, InvalidSignature):
                issued.verify_directly_issued_by(x509.load_der_x509_certificate(issuer.certificate))
                return self.chains[issuer.id][0]
        raise HaltIssuance(f"no issuing CA of ours signed {issued.serial_number:x}")

    def heed(self, description: Description) -> None:
        """Follow what is new; what cannot be published is told in the log, and what is public stays."""
        known = self._known
        if (
            known is not None
            and description.issuers == known.issuers
            and description.root_crl == known.root_crl
        ):
            self._judge(description)
            return
        try:
            self.follow(description)
        except NotPublished as error:
            _log.error("the new hierarchy is not published: %s", error)

    async def run(self, refresh: Callable[[], Awaitable[object]]) -> None:
        """Have the vault asked from time to time, until cancelled; `refresh` lets us heed the answer."""
        await asyncio.sleep(LOOK_EVERY)
        await for_ever(refresh, LOOK_EVERY, _log, "the hierarchy is not followed now", logging.DEBUG)

    def _judge(self, description: Description) -> None:
        now = self._clock.latest()
        found = outlook(description.issuers, self._settings.profiles, now)
        for each in found:
            FULL_LENGTH.labels(each.profile, each.family).set(max(0, each.full_until - now))
        if now >= self._alarm_at:
            late = deadlines(description.issuers, description.root_crl, self._settings, now)
            for level, message in (*alarms(found, self._settings, now), *late):
                _log.log(level, "%s", message)
            self._alarm_at = now + ALARM_EVERY


def alarms(found: list[Outlook], settings: Settings, now: int) -> list[tuple[int, str]]:
    """(level of the log, message): a warning from `ca.rollover_notice` on, critical in its last quarter."""
    notice = settings.ca.rollover_notice
    said = []
    for name in settings.profiles:
        if all(each.profile != name for each in found):
            said.append(
                (
                    logging.CRITICAL,
                    f"no issuing CA signs under profile {name}: see its settings issuers and client_auth",
                )
            )
    for each in found:
        left = each.full_until - now
        if left < notice:
            level = logging.CRITICAL if left < notice // 4 else logging.WARNING
            said.append((level, _in_words(each, left)))
    return said


def deadlines(
    issuers: Sequence[IssuerInfo], root_crl: bytes, settings: Settings, now: int
) -> list[tuple[int, str]]:
    """What else only a ceremony renews: the root's CRL, and the CA of our own servers."""
    ends = []
    if root_crl:
        next_update = x509.load_der_x509_crl(root_crl).next_update_utc
        assert next_update is not None  # crl.py writes one
        notice = min(ROOT_CRL_NOTICE, settings.ca.rollover_notice)
        ends.append(("the root's CRL", int(next_update.timestamp()), notice, 'a step "root-crl"'))
    ours = [each for each in issuers if each.use is KeyUse.LOCAL_SERVICE and each.state is IssuerState.ACTIVE]
    if ours:
        last = max(x509.load_der_x509_certificate(each.certificate).not_valid_after_utc for each in ours)
        notice = settings.ca.rollover_notice
        ends.append(("the CA of our own servers", int(last.timestamp()), notice, "a new one"))
    return [
        (
            logging.CRITICAL if end - now < notice // 4 else logging.WARNING,
            f"{what} ends on {datetime.fromtimestamp(end, UTC).date()}: hold a ceremony with {remedy}",
        )
        for what, end, notice, remedy in ends
        if end - now < notice
    ]


def report(data: DataDirectory, settings: Settings, now: int) -> dict[str, Any]:
    """For `acme-server status`, from the sealed hierarchy; empty where there is none to read."""
    from signer.vault.sealed import description, hierarchy

    try:
        sealed = hierarchy.load(data, settings)
        issuers = description.issuers(sealed, settings)
    except (CaError, OSError):
        return {"issuers": {}, "full_length_until": {}, "alarms": []}
    found = outlook(issuers, settings.profiles, now)
    return {
        "issuers": {issuer.id: str(issuer.state) for issuer in issuers},
        "full_length_until": {f"{each.profile} {each.family}": each.full_until for each in found},
        "alarms": [
            message
            for _, message in (
                *alarms(found, settings, now),
                *deadlines(issuers, sealed.root_crl, settings, now),
            )
        ],
    }


def _in_words(each: Outlook, left: int) -> str:
    what = f"certificates of full length for {each.family} keys under profile {each.profile}"
    remedy = "hold a ceremony that makes the next issuing CA"
    if left <= 0:
        return f"{what} cannot be issued any more: {remedy}"
    day = datetime.fromtimestamp(each.full_until, UTC).date()
    return f"{what} can be issued until {day}, {left // 86400} days from now: {remedy}"


def _pem_chains(issuer: IssuerInfo) -> tuple[bytes, ...]:
    return tuple(b"".join(_pem(each) for each in chain[:-1]) for chain in issuer.chains)


def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
