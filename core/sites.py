"""Which test sites there are: one for each status and each family of issuing keys (BR 2.2).

Relying parties try their software on them: a certificate that is valid, one that is revoked, one that has
expired, each of an issuing CA under the trust anchor.  The process of the sites, the repository's list and
the watch all ask here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from core.refusal import HOST_NAME, wrong
from core.settings import ExternalAccount, Rules, Settings

FAMILIES = ("ec", "rsa")
"""A key of the family has the issuing CA of the same one sign (signer/succession.py)."""

HTTPS = 443


class SiteStatus(StrEnum):
    """What a site demonstrates; the value stands in its name."""

    VALID = "valid"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Site:
    """One test site; `url` is where strangers find it."""

    name: str
    family: str
    status: SiteStatus
    url: str


def sites(settings: Settings) -> tuple[Site, ...]:
    """All test sites of these settings; none while test_sites.zone is ""."""
    chosen = settings.test_sites
    if not chosen.zone:
        return ()
    port = "" if (at := public_port(settings)) == HTTPS else f":{at}"
    return tuple(
        Site(name, family, status, f"https://{name}{port}/")
        for family in chosen.families
        for status in SiteStatus
        for name in (f"{status}-{family}.{chosen.zone}",)
    )


def listed(settings: Settings) -> list[dict[str, str]]:
    """The same for programs, as the repository lists them."""
    return [{"status": each.status, "family": each.family, "url": each.url} for each in sites(settings)]


def public_port(settings: Settings) -> int:
    """The port at which strangers, and the CA's own perspectives, reach the sites."""
    if settings.test_sites.forwarded:
        return settings.validation.tls_alpn_port
    return _port(settings.test_sites.listen[0])


def check(settings: Settings) -> None:
    """Require that the sites can get their certificates.  Raises: `ConfigurationError`."""
    chosen = settings.test_sites
    if not chosen.zone:
        return
    if not HOST_NAME.fullmatch(chosen.zone):
        raise wrong("test_sites.zone", chosen.zone, "write a host name in lower case, like test.ca.example")
    if settings.ca.rules is Rules.PUBLIC and chosen.zone.rpartition(".")[2] == "localhost":
        raise wrong("test_sites.zone", chosen.zone, "public rules certify no local names: name one of yours")
    if not chosen.listen:
        raise wrong("test_sites.listen", "[]", 'say where they are served, like ["0.0.0.0:443"]')
    for family in chosen.families:
        if family not in FAMILIES:
            raise wrong("test_sites.families", family, f"the families of keys are {', '.join(FAMILIES)}")
    if not chosen.families or len(set(chosen.families)) != len(chosen.families):
        raise wrong("test_sites.families", list(chosen.families), "list each family once, and at least one")
    _validation_finds_them(settings)
    _revocation_is_seen(settings)
    bound = settings.acme.external_account is ExternalAccount.REQUIRED
    if bound and not chosen.binding_file:
        raise wrong(
            "test_sites.binding_file",
            '""',
            "acme.external_account asks every account for a key, theirs too: run "
            "`acme-server eab add --label test-sites --json > FILE` and name that file",
        )


def _validation_finds_them(settings: Settings) -> None:
    """The sites answer tls-alpn-01 themselves, on the port where they are served."""
    chosen, port = settings.test_sites, settings.validation.tls_alpn_port
    if "tls-alpn-01" not in settings.validation.methods:
        raise wrong(
            "validation.methods",
            ", ".join(settings.validation.methods),
            "the test sites answer tls-alpn-01: add it, or turn them off (test_sites.zone)",
        )
    for listen in chosen.listen:
        if _port(listen) != port and not chosen.forwarded:
            raise wrong(
                "test_sites.listen",
                listen,
                f"validation by tls-alpn-01 connects to port {port} (validation.tls_alpn_port): serve them "
                f"there, or forward that port of their addresses to this one, without ending TLS on the way, "
                "and set test_sites.forwarded = true",
            )


def _revocation_is_seen(settings: Settings) -> None:
    """A certificate without OCSP and CRL could not be shown to be revoked."""
    chosen, profiles = settings.test_sites, settings.profiles
    usable = [
        name for name, each in profiles.items() if each.offered and "dns" in each.identifiers and _told(each)
    ]
    first = next((name for name, each in profiles.items() if each.offered and "dns" in each.identifiers), "")
    if (chosen.profile or first) not in usable:
        raise wrong(
            "test_sites.profile",
            chosen.profile or '""',
            f"name an offered profile for DNS names with OCSP or CRL: {', '.join(usable) or 'there is none'}",
        )


def _told(profile: object) -> bool:
    return bool(getattr(profile, "ocsp", False) or getattr(profile, "crl", False))


def _port(listen: str) -> int:
    return urlsplit(f"//{listen}").port or 0
