"""What must hold between settings, each with its remedy.

`undated` holds for ever and is checked whenever settings are loaded.  `dated` depends on the rules of the
day: whoever starts a CA asks it with `now`; while it runs, and before a rule of tomorrow binds, core/today.py
does.

Must never: look at files, sockets or the network; only the settings themselves are judged here.

BR 4.9.7, 4.9.10, 4.2.1, 6.3.2, 3.2.2.9; RFC 8555 section 6.1; RFC 8659; RFC 5280 appendix A.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from core import corroboration
from core.errors import ConfigurationError
from core.methods import METHODS
from core.requirements import DAY, HOUR, Limit, row
from core.settings import CtMode, Rules, Settings

MODES = ("embedded",)
"""Deployment modes that exist here."""

MAX_ORGANIZATION = 64
"""Characters: ub-organization-name (RFC 5280 appendix A.1)."""

MAX_ISSUERS = 10
"""Issuer domain names in a challenge (draft-ietf-acme-dns-persist section 3.1)."""

MAY_BE_ZERO = frozenset(
    {
        "authorization_reuse",
        "poll_interval",
        "lint_sample",
        "lint_workers",
        "crl_delay",
        "busy_timeout",
        "latitude",
        "longitude",
    }
)
"""Numbers whose zero has a meaning; every other number must be above zero."""

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)
_LISTEN = re.compile(r"(?:\[[0-9a-fA-F:.%]+]|[^\s:/\[\]]+):(\d{1,5})")
_OID = re.compile(r"[012](\.(0|[1-9]\d*))+")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_CODE = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def undated(settings: Settings) -> None:
    """Require what holds at any time.  Raises: `ConfigurationError` for the first thing that does not."""
    if settings.vault.zlint and settings.ca.rules is not Rules.PUBLIC:
        raise _wrong("vault.zlint", settings.vault.zlint, "it judges by rules that do not bind a private CA")
    _numbers(settings, "")
    _ca(settings)
    _addresses(settings)
    _perspectives(settings)
    _resolver(settings)
    _mpic(settings)
    _periods(settings)
    _approved_tokens(settings)
    _profiles(settings)
    _ct(settings)
    if settings.ca.rules is Rules.PUBLIC:
        _public(settings)
    if settings.deployment.production:
        _production(settings)


def dated(settings: Settings, at: int) -> None:
    """Require what the rules of the day ask of the settings.  Raises: `ConfigurationError`.

    Private rules have no dates; under them every setting passes.
    """
    if settings.ca.rules is not Rules.PUBLIC:
        return
    most = {
        "acme.authorization_lifetime": (settings.acme.authorization_lifetime, Limit.VALIDATION_REUSE),
        "acme.authorization_reuse": (settings.acme.authorization_reuse, Limit.VALIDATION_REUSE),
        "status.ocsp_validity": (settings.status.ocsp_validity, Limit.OCSP_VALIDITY_MOST),
        "status.crl_validity": (settings.status.crl_validity, Limit.CRL_VALIDITY),
        "status.crl_refresh": (
            settings.status.crl_refresh,
            Limit.CRL_REFRESH
            if all(profile.ocsp for profile in settings.profiles.values())
            else Limit.CRL_REFRESH_WITHOUT_OCSP,
        ),
        "status.crl_delay": (settings.status.crl_delay, Limit.CRL_AFTER_REVOCATION),
        # A challenge's token is never older than its order.
        "acme.order_lifetime": (settings.acme.order_lifetime, Limit.TOKEN_LIFETIME),
    }
    for name, profile in settings.profiles.items():
        revocable = profile.crl or profile.ocsp
        most[f"profiles.{name}.validity"] = (
            profile.validity,
            Limit.LEAF_VALIDITY if revocable else Limit.SHORT_LIVED_VALIDITY,
        )
    for key, (value, name) in most.items():
        rule = row(name, at)
        if value > rule.value:
            raise _wrong(key, value, f"{rule.clause} allows {rule.value} s ({rule.value / DAY:g} d) at most")
    least = row(Limit.OCSP_VALIDITY_LEAST, at)
    if settings.status.ocsp_validity < least.value:
        raise _wrong(
            "status.ocsp_validity", settings.status.ocsp_validity, f"{least.clause} asks {least.value} s"
        )
    corroboration.check(settings.validation.perspectives, at)


def _numbers(section: Any, prefix: str) -> None:
    """No negative number anywhere, and zero only where it means something."""
    for name, value in _members(section):
        key = f"{prefix}.{name}" if prefix else name
        if is_dataclass(value):
            _numbers(value, key)
        elif isinstance(value, dict):
            for each, inner in value.items():
                _numbers(inner, f"{key}.{each}")
        elif isinstance(value, int) and not isinstance(value, bool):
            if value < 0 or (value == 0 and name not in MAY_BE_ZERO):
                raise _wrong(key, value, "it must be a whole number above zero")
            if name.endswith("_port") and value > 65535:
                raise _wrong(key, value, "ports end at 65535")


def _ca(settings: Settings) -> None:
    ca = settings.ca
    if not re.fullmatch(r"[A-Z]{2}", ca.country):
        raise _wrong("ca.country", ca.country, "write the two capital letters of ISO 3166-1, like JP")
    if not 1 <= len(ca.organization) <= MAX_ORGANIZATION:
        raise _wrong("ca.organization", ca.organization, f"1 to {MAX_ORGANIZATION} characters, RFC 5280 A.1")
    for name in ca.caa_identities:
        if not _HOST_NAME.fullmatch(name):
            raise _wrong("ca.caa_identities", name, "write a host name in lower case, RFC 8659 section 4.2")
    if ca.policy_oid and not _OID.fullmatch(ca.policy_oid):
        raise _wrong(
            "ca.policy_oid", ca.policy_oid, "write numbers with dots, like 2.23.140.1.2.1, or nothing"
        )
    if settings.deployment.mode not in MODES:
        raise _wrong("deployment.mode", settings.deployment.mode, f"this version knows {', '.join(MODES)}")
    for method in settings.validation.methods:
        if method not in METHODS:
            raise _wrong("validation.methods", method, f"this version knows {', '.join(METHODS)}")
    if "dns-persist-01" in settings.validation.methods and not 0 < len(ca.caa_identities) <= MAX_ISSUERS:
        raise _wrong(
            "ca.caa_identities",
            len(ca.caa_identities),
            f"a dns-persist-01 challenge names 1 to {MAX_ISSUERS} issuers: list so many, or leave it out",
        )
    if not settings.validation.methods:
        raise _wrong(
            "validation.methods", "[]", "without one nothing can be validated: list http-01 or dns-01"
        )


def _addresses(settings: Settings) -> None:
    for key, listen in (
        ("acme.listen", settings.acme.listen),
        ("repository.listen", settings.repository.listen),
        ("metrics.listen", settings.metrics.listen),
        ("mpic.listen", settings.mpic.listen),
    ):
        for each in listen:
            found = _LISTEN.fullmatch(each)
            if found is None or int(found[1]) > 65535:
                raise _wrong(key, each, "write host:port, or [address]:port for IPv6")
    _url("acme.base_url", settings.acme.base_url, "https", "RFC 8555 section 6.1 asks for HTTPS")
    _url(
        "repository.base_url",
        settings.repository.base_url,
        "http",
        "OCSP and CRLs must be reachable without TLS, whose certificates they judge (BR 7.1.2.11.2)",
    )
    if not settings.acme.tls_names:
        raise _wrong("acme.tls_names", "[]", "name the host of acme.base_url")


def _url(key: str, url: str, scheme: str, why: str) -> None:
    parts = urlsplit(url)
    try:
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        port_fits = False
    if parts.scheme != scheme:
        raise _wrong(key, url, f"it must begin with {scheme}://: {why}")
    if not parts.hostname or not port_fits or url != f"{scheme}://{parts.netloc}" or "@" in parts.netloc:
        raise _wrong(
            key, url, f"write {scheme}://host or {scheme}://host:port, without a path or a last slash"
        )


def _perspectives(settings: Settings) -> None:
    perspectives = settings.validation.perspectives
    if not perspectives:
        raise _wrong("validation.perspectives", "[]", "list at least one; the first is the primary")
    codes = [each.code for each in perspectives]
    for each in perspectives:
        if not _CODE.fullmatch(each.code):
            raise _wrong(
                "validation.perspectives.code", each.code, "use a-z, 0-9 and -, at most 32 characters"
            )
        if codes.count(each.code) > 1:
            raise _wrong("validation.perspectives.code", each.code, "two have it: give each its own")
        if abs(each.latitude) > 90 or abs(each.longitude) > 180:
            raise _wrong("validation.perspectives", each.code, "latitude is -90 to 90, longitude -180 to 180")


def _resolver(settings: Settings) -> None:
    validation = settings.validation
    if validation.unbound and validation.resolvers:
        raise _wrong(
            "validation.resolvers",
            ", ".join(validation.resolvers),
            "with validation.unbound each perspective asks its own Unbound only: empty one of the two",
        )
    if validation.resolver_config and not validation.resolvers:
        raise _wrong(
            "validation.resolver_config",
            validation.resolver_config,
            "it is that of validation.resolvers, which are not set: name both, or neither",
        )
    for key in ("canary_bogus", "canary_signed"):
        name = getattr(validation, key)
        if name and not _HOST_NAME.fullmatch(name):
            raise _wrong(f"validation.{key}", name, "write a host name in lower case")
    if settings.ca.rules is Rules.PRIVATE and bool(validation.canary_bogus) is not bool(
        validation.canary_signed
    ):
        raise _wrong(
            "validation.canary_bogus", validation.canary_bogus, "the canary has two names, or none: set both"
        )
    if validation.unbound_include and not validation.unbound:
        raise _wrong(
            "validation.unbound_include",
            validation.unbound_include,
            "it is read by our own Unbound: name that as validation.unbound",
        )


def _mpic(settings: Settings) -> None:
    mpic, perspectives = settings.mpic, settings.validation.perspectives
    elsewhere = [each for each in perspectives if each.url]
    for each in elsewhere:
        _url("validation.perspectives.url", each.url, "https", "BR 3.2.2.9 asks for an authenticated channel")
    if (elsewhere or mpic.listen) and not _HOST_NAME.fullmatch(mpic.zone):
        raise _wrong(
            "mpic.zone", mpic.zone or '""', "name the zone of the channel's certificates: mpic.ca.example"
        )
    if mpic.listen and len(perspectives) != 1:
        raise _wrong(
            "mpic.listen",
            ", ".join(mpic.listen),
            "it is for a perspective's own host, whose settings list that one perspective alone",
        )
    gateway = urlsplit(mpic.gateway)
    if mpic.gateway and gateway.scheme != "http":
        _url("mpic.gateway", mpic.gateway, "https", "it is an HTTP service")
    elif mpic.gateway and not _is_loopback(gateway.hostname):
        raise _wrong("mpic.gateway", mpic.gateway, "without TLS it must be at a loopback address, 127.0.0.1")


def _is_loopback(host: str | None) -> bool:
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def _periods(settings: Settings) -> None:
    status, vault = settings.status, settings.vault
    for key, period, of, whole in (
        ("status.ocsp_refresh", status.ocsp_refresh, "status.ocsp_validity", status.ocsp_validity),
        ("status.crl_refresh", status.crl_refresh, "status.crl_validity", status.crl_validity),
        (
            "vault.responder_renewal",
            vault.responder_renewal,
            "vault.responder_lifetime",
            vault.responder_lifetime,
        ),
    ):
        if period >= whole:
            raise _wrong(key, period, f"it must be shorter than {of} ({whole}), or relying parties see a gap")
    if vault.responder_lifetime > 30 * DAY:
        raise _wrong(
            "vault.responder_lifetime",
            vault.responder_lifetime,
            "30 days at most: a responder without a status of its own must end soon",
        )
    if settings.limits.failure_wait > settings.limits.failure_wait_most:
        raise _wrong(
            "limits.failure_wait",
            settings.limits.failure_wait,
            "the first wait is the shortest one",
        )
    if settings.acme.authorization_reuse > settings.acme.authorization_lifetime:
        raise _wrong(
            "acme.authorization_reuse",
            settings.acme.authorization_reuse,
            "an authorization cannot be used longer than acme.authorization_lifetime",
        )


def _approved_tokens(settings: Settings) -> None:
    for each in settings.vault.approved_tokens:
        for name in ("manufacturer", "model", "firmware", "certificate"):
            if not getattr(each, name):
                raise _wrong(
                    f"vault.approved_tokens.{name}", '""', "an approval names all that the ceremony recorded"
                )
        if not _SHA256.fullmatch(each.module_sha256):
            raise _wrong(
                "vault.approved_tokens.module_sha256",
                each.module_sha256,
                "it is 64 hexadecimal digits: sha256sum of the module's file",
            )


def _profiles(settings: Settings) -> None:
    if not settings.profiles:
        raise _wrong("profiles", "{}", "add at least one section [profiles.NAME]")
    for name in settings.profiles:
        if not _CODE.fullmatch(name):
            raise _wrong("profiles", name, "a profile's name uses a-z, 0-9 and -, at most 32 characters")
        for issuer in settings.profiles[name].issuers:
            if not _CODE.fullmatch(issuer):
                raise _wrong(f"profiles.{name}.issuers", issuer, "name issuing CAs by their ids, like ec-1")


def _public(settings: Settings) -> None:
    if settings.ca.local_names:
        raise _wrong(
            "ca.local_names",
            ", ".join(settings.ca.local_names),
            "public rules certify no local names (BR 4.2.2): set it to []",
        )
    if not (settings.validation.unbound or settings.validation.resolvers):
        raise _wrong(
            "validation.unbound",
            '""',
            "public rules need DNSSEC validation (BR 3.2.2.8.1): name the program of the resolver, like "
            '"/usr/sbin/unbound", or your own validating resolvers as validation.resolvers',
        )
    if not settings.ca.caa_identities:
        raise _wrong(
            "ca.caa_identities", "[]", "name the domain by which CAA records permit you (BR 4.2.2.1)"
        )
    refresh, validity = settings.status.ocsp_refresh, settings.status.ocsp_validity
    latest = min(4 * DAY, validity - 8 * HOUR) if validity >= 16 * HOUR else validity // 2
    if refresh > latest:
        raise _wrong(
            "status.ocsp_refresh", refresh, f"BR 4.9.10 asks for a new answer after {latest} s at most"
        )


def _ct(settings: Settings) -> None:
    ct = settings.ct
    if ct.mode is CtMode.OFF:
        return
    if not ct.log_list:
        raise _wrong("ct.log_list", '""', "name the file of the log list (JSON, version 3)")
    if bool(ct.log_list_key) is not bool(ct.log_list_signature):
        raise _wrong("ct.log_list_key", ct.log_list_key, "signature and key are given both or not at all")
    if ct.request_timeout >= ct.patience:
        raise _wrong(
            "ct.request_timeout", ct.request_timeout, f"it must be shorter than ct.patience ({ct.patience})"
        )


def _production(settings: Settings) -> None:
    if settings.ca.rules is Rules.PUBLIC:
        _production_of_evidence(settings)
    if settings.mpic.listen:
        return  # a perspective's own host has no vault, no logs and no subscribers' keys
    if settings.ca.rules is Rules.PUBLIC and settings.ct.mode is CtMode.OFF:
        raise _wrong("ct.mode", "off", "browsers trust a public certificate with SCTs only: set it to on")
    if settings.ct.mode is CtMode.ON and not settings.ct.log_list_key:
        raise _wrong(
            "ct.log_list_key", '""', "production believes a signed log list only: name its public key"
        )
    if settings.ca.rules is Rules.PUBLIC and not settings.ca.blocklist:
        raise _wrong(
            "ca.blocklist",
            '""',
            "BR 6.1.1.3 (5) has Debian's weak keys refused: name a list in badkeys' format that holds them",
        )
    if settings.vault.pin_file:
        raise _wrong(
            "vault.pin_file",
            settings.vault.pin_file,
            'in production the PIN lies in no file (BR 6.2.8): set it to "" and let people share it at a '
            "ceremony and activate the vault",
        )


def _production_of_evidence(settings: Settings) -> None:
    if settings.validation.allowed_networks:
        raise _wrong(
            "validation.allowed_networks",
            ", ".join(settings.validation.allowed_networks),
            "a public CA in production reaches public addresses only: set it to []",
        )
    if not (settings.validation.unbound or settings.validation.resolver_config):
        raise _wrong(
            "validation.resolver_config",
            '""',
            "nobody has examined whether validation.resolvers validate (BR 3.2.2.8.1): name their "
            'unbound.conf, or leave the resolver to us (validation.unbound = "/usr/sbin/unbound")',
        )


def _members(section: Any) -> Iterator[tuple[str, Any]]:
    return ((each.name, getattr(section, each.name)) for each in fields(section))


def _wrong(key: str, value: object, remedy: str) -> ConfigurationError:
    return ConfigurationError(f"{key} = {value}: {remedy}")
