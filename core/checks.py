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
from ipaddress import ip_network
from typing import Any

from core import (
    corroboration,
    limit_checks,
    profile_checks,
    redis_checks,
    renewal_checks,
    repository_checks,
    sites,
    status_checks,
    validation_checks,
)
from core.methods import METHODS
from core.refusal import HOST_NAME, url, wrong
from core.requirements import DAY, HOUR, Limit, row
from core.settings import CtMode, Rules, Settings

MODES = ("embedded",)
"""Deployment modes that exist here."""

MAX_ORGANIZATION = 64
"""Characters: ub-organization-name (RFC 5280 appendix A.1)."""

MAX_ASKED = 20
"""Statuses in one OCSP answer: the vault's own bound (signer/vault/templates/ocsp.py)."""

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
        *limit_checks.RATES,
    }
)
"""Numbers whose zero has a meaning; every other number must be above zero."""

_LISTEN = re.compile(r"(?:\[[0-9a-fA-F:.%]+]|[^\s:/\[\]]+):(\d{1,5})")
_OID = re.compile(r"[012](\.(0|[1-9]\d*))+")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def undated(settings: Settings) -> None:
    """Require what holds at any time.  Raises: `ConfigurationError` for the first thing that does not."""
    if settings.vault.zlint and settings.ca.rules is not Rules.PUBLIC:
        raise wrong("vault.zlint", settings.vault.zlint, "it judges by rules that do not bind a private CA")
    _numbers(settings, "")
    _ca(settings)
    _addresses(settings)
    validation_checks.undated(settings)
    limit_checks.undated(settings)
    redis_checks.undated(settings)
    _periods(settings)
    _approved_tokens(settings)
    profile_checks.undated(settings)
    renewal_checks.undated(settings.renewal)
    status_checks.undated(settings.status)
    repository_checks.undated(settings)
    sites.check(settings)
    _ct(settings)
    if settings.ca.rules is Rules.PUBLIC:
        _public(settings)
    if settings.deployment.production:
        _production(settings)


def dated(settings: Settings, at: int) -> None:
    """Require what the rules of the day ask of the settings.  Raises: `ConfigurationError`.

    Private rules have no dates; under them every setting passes.
    """
    dated_for_all(settings, at)
    for name in settings.profiles:
        profile_checks.dated(settings, name, at)


def dated_for_all(settings: Settings, at: int) -> None:
    """As `dated`, of all that no single profile is to blame for."""
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
    for key, (value, name) in most.items():
        rule = row(name, at)
        if value > rule.value:
            raise wrong(key, value, f"{rule.clause} allows {rule.value} s ({rule.value / DAY:g} d) at most")
    least = row(Limit.OCSP_VALIDITY_LEAST, at)
    if settings.status.ocsp_validity < least.value:
        raise wrong(
            "status.ocsp_validity", settings.status.ocsp_validity, f"{least.clause} asks {least.value} s"
        )
    if not settings.mpic.listen:  # on a perspective's own host the others are not known
        corroboration.check(settings.validation.perspectives, at)


def _numbers(section: Any, prefix: str) -> None:
    """No negative number anywhere, and zero only where it means something."""
    for name, value in _members(section):
        key = f"{prefix}.{name}" if prefix else name
        if is_dataclass(value):
            _numbers(value, key)
        elif isinstance(value, dict):
            for each, inner in value.items():
                if is_dataclass(inner):
                    _numbers(inner, f"{key}.{each}")
        elif isinstance(value, int) and not isinstance(value, bool):
            if value < 0 or (value == 0 and name not in MAY_BE_ZERO):
                raise wrong(key, value, "it must be a whole number above zero")
            if name.endswith("_port") and value > 65535:
                raise wrong(key, value, "ports end at 65535")


def _ca(settings: Settings) -> None:
    ca = settings.ca
    if not re.fullmatch(r"[A-Z]{2}", ca.country):
        raise wrong("ca.country", ca.country, "write the two capital letters of ISO 3166-1, like JP")
    if not 1 <= len(ca.organization) <= MAX_ORGANIZATION:
        raise wrong("ca.organization", ca.organization, f"1 to {MAX_ORGANIZATION} characters, RFC 5280 A.1")
    for name in ca.caa_identities:
        if not HOST_NAME.fullmatch(name):
            raise wrong("ca.caa_identities", name, "write a host name in lower case, RFC 8659 section 4.2")
    if ca.policy_oid and not _OID.fullmatch(ca.policy_oid):
        raise wrong(
            "ca.policy_oid", ca.policy_oid, "write numbers with dots, like 2.23.140.1.2.1, or nothing"
        )
    if settings.deployment.mode not in MODES:
        raise wrong("deployment.mode", settings.deployment.mode, f"this version knows {', '.join(MODES)}")
    for method in settings.validation.methods:
        if method not in METHODS:
            raise wrong("validation.methods", method, f"this version knows {', '.join(METHODS)}")
        if settings.validation.methods.count(method) > 1:
            raise wrong("validation.methods", method, "it is listed twice: take one out")
    if "dns-persist-01" in settings.validation.methods and not 0 < len(ca.caa_identities) <= MAX_ISSUERS:
        raise wrong(
            "ca.caa_identities",
            len(ca.caa_identities),
            f"a dns-persist-01 challenge names 1 to {MAX_ISSUERS} issuers: list so many, or leave it out",
        )
    if not settings.validation.methods:
        raise wrong(
            "validation.methods", "[]", "without one nothing can be validated: list http-01 or dns-01"
        )


def _addresses(settings: Settings) -> None:
    taken: dict[str, str] = {}
    for key, listen in (
        ("acme.listen", settings.acme.listen),
        ("repository.listen", settings.repository.listen),
        ("metrics.listen", settings.metrics.listen),
        ("mpic.listen", settings.mpic.listen),
        ("test_sites.listen", settings.test_sites.listen if settings.test_sites.zone else ()),
    ):
        for each in listen:
            found = _LISTEN.fullmatch(each)
            if found is None or int(found[1]) > 65535:
                raise wrong(key, each, "write host:port, or [address]:port for IPv6")
            if int(found[1]) and taken.setdefault(each, key) != key:
                raise wrong(key, each, f"{taken[each]} listens there already: choose another port")
    url("acme.base_url", settings.acme.base_url, "https", "RFC 8555 section 6.1 asks for HTTPS")
    url(
        "repository.base_url",
        settings.repository.base_url,
        "http",
        "OCSP and CRLs must be reachable without TLS, whose certificates they judge (BR 7.1.2.11.2)",
    )
    if settings.repository.report_url:
        url(
            "repository.report_url",
            settings.repository.report_url,
            "https",
            "it is there so that reports are not read on their way",
        )
        if not settings.acme.trusted_proxies:
            raise wrong(
                "repository.report_url",
                settings.repository.report_url,
                "only a proxy can say that a report came by TLS: name it in acme.trusted_proxies",
            )
    for each in settings.acme.trusted_proxies:
        try:
            ip_network(each)
        except ValueError as error:
            raise wrong(
                "acme.trusted_proxies", each, f"{error}; write networks like 192.0.2.0/28 or 2001:db8::7"
            ) from error
    if settings.acme.proxy_header.lower() not in ("x-forwarded-for", "forwarded"):
        raise wrong("acme.proxy_header", settings.acme.proxy_header, 'write "X-Forwarded-For" or "Forwarded"')
    if not settings.acme.tls_names:
        raise wrong("acme.tls_names", "[]", "name the host of acme.base_url")


def _periods(settings: Settings) -> None:
    status, vault = settings.status, settings.vault
    for key, period, of, whole in (
        ("status.ocsp_refresh", status.ocsp_refresh, "status.ocsp_validity", status.ocsp_validity),
        ("status.ocsp_max_age", status.ocsp_max_age, "status.ocsp_validity", status.ocsp_validity),
        ("status.crl_refresh", status.crl_refresh, "status.crl_validity", status.crl_validity),
        (
            "vault.responder_renewal",
            vault.responder_renewal,
            "vault.responder_lifetime",
            vault.responder_lifetime,
        ),
    ):
        if period >= whole:
            raise wrong(key, period, f"it must be shorter than {of} ({whole}), or relying parties see a gap")
    if status.ocsp_certificates > MAX_ASKED:
        raise wrong(
            "status.ocsp_certificates",
            status.ocsp_certificates,
            f"the vault signs {MAX_ASKED} at most in one answer",
        )
    if vault.responder_lifetime > 30 * DAY:
        raise wrong(
            "vault.responder_lifetime",
            vault.responder_lifetime,
            "30 days at most: a responder without a status of its own must end soon",
        )
    if settings.acme.authorization_reuse > settings.acme.authorization_lifetime:
        raise wrong(
            "acme.authorization_reuse",
            settings.acme.authorization_reuse,
            "an authorization cannot be used longer than acme.authorization_lifetime",
        )


def _approved_tokens(settings: Settings) -> None:
    for each in settings.vault.approved_tokens:
        for name in ("manufacturer", "model", "firmware", "certificate"):
            if not getattr(each, name):
                raise wrong(
                    f"vault.approved_tokens.{name}", '""', "an approval names all that the ceremony recorded"
                )
        if not _SHA256.fullmatch(each.module_sha256):
            raise wrong(
                "vault.approved_tokens.module_sha256",
                each.module_sha256,
                "it is 64 hexadecimal digits: sha256sum of the module's file",
            )


def _public(settings: Settings) -> None:
    if settings.ca.local_names:
        raise wrong(
            "ca.local_names",
            ", ".join(settings.ca.local_names),
            "public rules certify no local names (BR 4.2.2): set it to []",
        )
    if not (settings.validation.unbound or settings.validation.resolvers):
        raise wrong(
            "validation.unbound",
            '""',
            "public rules need DNSSEC validation (BR 3.2.2.8.1): name the program of the resolver, like "
            '"/usr/sbin/unbound", or your own validating resolvers as validation.resolvers',
        )
    if not settings.ca.caa_identities:
        raise wrong("ca.caa_identities", "[]", "name the domain by which CAA records permit you (BR 4.2.2.1)")
    refresh, validity = settings.status.ocsp_refresh, settings.status.ocsp_validity
    latest = min(4 * DAY, validity - 8 * HOUR) if validity >= 16 * HOUR else validity // 2
    if refresh > latest:
        raise wrong(
            "status.ocsp_refresh", refresh, f"BR 4.9.10 asks for a new answer after {latest} s at most"
        )


def _ct(settings: Settings) -> None:
    ct = settings.ct
    if ct.mode is CtMode.OFF:
        return
    if not ct.log_list:
        raise wrong("ct.log_list", '""', "name the file of the log list (JSON, version 3)")
    if bool(ct.log_list_key) is not bool(ct.log_list_signature):
        raise wrong("ct.log_list_key", ct.log_list_key, "signature and key are given both or not at all")
    if ct.request_timeout >= ct.patience:
        raise wrong(
            "ct.request_timeout", ct.request_timeout, f"it must be shorter than ct.patience ({ct.patience})"
        )


def _production(settings: Settings) -> None:
    if settings.ca.rules is Rules.PUBLIC:
        validation_checks.production(settings)
    if settings.mpic.listen:
        return  # a perspective's own host has no vault, no logs and no subscribers' keys
    if settings.ca.rules is Rules.PUBLIC and settings.ct.mode is CtMode.OFF:
        raise wrong("ct.mode", "off", "browsers trust a public certificate with SCTs only: set it to on")
    if settings.ct.mode is CtMode.ON and not settings.ct.log_list_key:
        raise wrong(
            "ct.log_list_key", '""', "production believes a signed log list only: name its public key"
        )
    if settings.ca.rules is Rules.PUBLIC and not settings.ca.blocklist:
        raise wrong(
            "ca.blocklist",
            '""',
            "BR 6.1.1.3 (5) has Debian's weak keys refused: name a list in badkeys' format that holds them",
        )
    if settings.ca.rules is Rules.PUBLIC and not settings.ca.high_risk:
        raise wrong(
            "ca.high_risk",
            '""',
            "BR 4.2.1 has high-risk requests looked at by people: name a file of such names",
        )
    if settings.ca.rules is Rules.PUBLIC and not settings.ca.practice:
        raise wrong(
            "ca.practice",
            '""',
            "a public CA states its own premises, people and liability in its CP/CPS (BR 2.2), not our "
            "example's: name a file of them",
        )
    if not settings.repository.report_url:
        raise wrong(
            "repository.report_url",
            '""',
            "a report holds personal data, perhaps a private key: put a proxy that speaks TLS in front of "
            "repository.listen (deploy/nginx.conf), name it in acme.trusted_proxies, and write its https URL",
        )
    if settings.vault.pin_file:
        raise wrong(
            "vault.pin_file",
            settings.vault.pin_file,
            'in production the PIN lies in no file (BR 6.2.8): set it to "" and let people share it at a '
            "ceremony and activate the vault",
        )


def _members(section: Any) -> Iterator[tuple[str, Any]]:
    return ((each.name, getattr(section, each.name)) for each in fields(section))
