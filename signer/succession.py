"""Which issuing CA signs a leaf, and how long the CAs at hand will last.

Several issuing CAs of one key family live at once: one is planned, one signs leaves, older ones only say the
status of what they signed.  The newest whose day has come signs, and a leaf never outlives its issuer.

Must never: decide in the vault's stead; it judges the state and the dates again (vault/lifetimes.py).

RFC 5280 section 4.1.2.5; BR 6.3.2; CPS 6.3.2; docs/chains.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from core.errors import Refused, TransientError
from core.settings import Profile
from signer.api import IssuerInfo, IssuerState, KeyUse

LEAST_VALIDITY = 86400
"""Seconds: a leaf that its issuer's end cuts shorter than a day is of no use to anybody."""


@dataclass(frozen=True, slots=True)
class Validity:
    """From `not_before` to `not_after`, POSIX seconds, both included."""

    not_before: int
    not_after: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The issuer that signs, and the last second of the leaf: earlier than wished where the issuer ends."""

    issuer: IssuerInfo
    not_after: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """Until when leaves of full length can be issued to keys of `family` under `profile`; 0: not even now."""

    family: str
    profile: str
    full_until: int


def family_of(public_key: bytes) -> str:
    """The family of a SubjectPublicKeyInfo, "rsa" or "ec": what an issuer's `algorithm` begins with."""
    return "rsa" if isinstance(load_der_public_key(public_key), rsa.RSAPublicKey) else "ec"


def choose(
    issuers: Iterable[IssuerInfo],
    family: str,
    profile: Profile,
    wanted: Validity,
    now: int,
    *,
    exactly: bool,
) -> Choice:
    """The issuer for a leaf: of the key's own family, so that a client needs one algorithm only.

    The newest one that outlives the leaf; where none does, the one that lasts longest, and the leaf ends with
    it, unless `exactly` these dates were asked for.  Raises `Refused` when no issuing CA could ever sign it,
    `TransientError` when none may now but the next ceremony or day can change that.
    """
    known = [each for each in issuers if _serves(each, family, profile)]
    if not known:
        clients = " and clients' certificates" if profile.client_auth else ""
        raise Refused(
            "issuer.missing", f"no issuing CA for {family} keys{clients}: hold a ceremony that makes one"
        )
    signing = [each for each in known if _signs_at(each, now)]
    able = [each for each in signing if _begins(each) <= wanted.not_before]
    if signing and not able:
        raise Refused("issuer.begins", "no issuing CA is as old as the notBefore asked for: leave it out")
    lasting = [each for each in able if wanted.not_after <= _ends(each)]
    if lasting:
        return Choice(max(lasting, key=_age), wanted.not_after)
    longest = max(able, key=_ends, default=None)
    if longest is None or _ends(longest) - max(now, wanted.not_before) < LEAST_VALIDITY:
        raise TransientError(
            f"no issuing CA for {family} keys may sign now: see the chain roster for the next one, or hold a "
            "ceremony that makes it"
        )
    if exactly:
        raise Refused(
            "issuer.ends", "no issuing CA lives as long as the notAfter that was asked for: leave it out"
        )
    return Choice(longest, _ends(longest))


def outlook(issuers: Iterable[IssuerInfo], profiles: Mapping[str, Profile], now: int) -> list[Outlook]:
    """For each profile and family with an active issuing CA: how long leaves of full length can be kept up.

    A planned one does not count, for it signs only after a further ceremony; an active one whose `since` is
    still to come does.
    """
    living = [each for each in issuers if each.state is IssuerState.ACTIVE]
    found = []
    for name, profile in profiles.items():
        for family in ("rsa", "ec"):
            serving = [each for each in living if _serves(each, family, profile)]
            if serving:
                found.append(Outlook(family, name, _full_until(serving, profile.validity, now)))
    return found


def _full_until(serving: list[IssuerInfo], validity: int, now: int) -> int:
    """The end of the unbroken run of days, from now on, on which some issuer outlives a new leaf."""
    spans = sorted(
        (max(each.since, _begins(each)), min(each.until or _ends(each), _ends(each) - validity + 1))
        for each in serving
    )
    reached = now - 1
    for first, last in spans:
        if first <= reached + 1:
            reached = max(reached, last)
    return reached if reached >= now else 0


def _serves(issuer: IssuerInfo, family: str, profile: Profile) -> bool:
    return (
        issuer.use is KeyUse.ISSUING
        and issuer.algorithm.startswith(family)
        and (not profile.issuers or issuer.id in profile.issuers)
        and (not profile.client_auth or _may_certify_clients(issuer.certificate))
    )


def _signs_at(issuer: IssuerInfo, now: int) -> bool:
    begun = issuer.since <= now
    return issuer.state is IssuerState.ACTIVE and begun and (not issuer.until or now <= issuer.until)


def _age(issuer: IssuerInfo) -> tuple[int, int, str]:
    return max(issuer.since, _begins(issuer)), _ends(issuer), issuer.id


def _begins(issuer: IssuerInfo) -> int:
    return _dates(issuer.certificate).not_before


def _ends(issuer: IssuerInfo) -> int:
    return _dates(issuer.certificate).not_after


@lru_cache(maxsize=64)
def _may_certify_clients(certificate: bytes) -> bool:
    """Relying parties take a CA's extKeyUsage for a limit of what it signs; without one there is none."""
    extensions = x509.load_der_x509_certificate(certificate).extensions
    try:
        uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.CLIENT_AUTH in uses


@lru_cache(maxsize=64)
def _dates(certificate: bytes) -> Validity:
    parsed = x509.load_der_x509_certificate(certificate)
    return Validity(int(parsed.not_valid_before_utc.timestamp()), int(parsed.not_valid_after_utc.timestamp()))
