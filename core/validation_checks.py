"""What must hold between the settings of validation: perspectives, resolvers, the channel to those elsewhere.

BR 3.2.2.4, 3.2.2.8.1, 3.2.2.9.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from core.refusal import CODE, HOST_NAME, url, wrong
from core.settings import Rules, Settings

NEVER_OPEN = tuple(map(ip_network, ("127.0.0.0/8", "169.254.0.0/16", "::/96", "fe80::/10")))
"""This machine, and the clouds' metadata services: no name of a subscriber stands for them."""

PORTS = {"http_port": 80, "https_port": 443, "tls_alpn_port": 443}


def undated(settings: Settings) -> None:
    """Require what holds at any time.  Raises: `ConfigurationError` for the first thing that does not."""
    _perspectives(settings)
    _resolver(settings)
    _mpic(settings)
    _written(settings)
    if settings.deployment.production:
        _networks(settings)


def _perspectives(settings: Settings) -> None:
    perspectives = settings.validation.perspectives
    if not perspectives:
        raise wrong("validation.perspectives", "[]", "list at least one; the first is the primary")
    codes = [each.code for each in perspectives]
    for each in perspectives:
        if not CODE.fullmatch(each.code):
            raise wrong(
                "validation.perspectives.code", each.code, "use a-z, 0-9 and -, at most 32 characters"
            )
        if codes.count(each.code) > 1:
            raise wrong("validation.perspectives.code", each.code, "two have it: give each its own")
        if abs(each.latitude) > 90 or abs(each.longitude) > 180:
            raise wrong("validation.perspectives", each.code, "latitude is -90 to 90, longitude -180 to 180")


def _resolver(settings: Settings) -> None:
    validation = settings.validation
    if validation.unbound and validation.resolvers:
        raise wrong(
            "validation.resolvers",
            ", ".join(validation.resolvers),
            "with validation.unbound each perspective asks its own Unbound only: empty one of the two",
        )
    if validation.resolver_config and not validation.resolvers:
        raise wrong(
            "validation.resolver_config",
            validation.resolver_config,
            "it is that of validation.resolvers, which are not set: name both, or neither",
        )
    for key in ("canary_bogus", "canary_signed"):
        name = getattr(validation, key)
        if name and not HOST_NAME.fullmatch(name):
            raise wrong(f"validation.{key}", name, "write a host name in lower case")
    if settings.ca.rules is Rules.PRIVATE and bool(validation.canary_bogus) is not bool(
        validation.canary_signed
    ):
        raise wrong(
            "validation.canary_bogus", validation.canary_bogus, "the canary has two names, or none: set both"
        )
    if validation.unbound_include and not validation.unbound:
        raise wrong(
            "validation.unbound_include",
            validation.unbound_include,
            "it is read by our own Unbound: name that as validation.unbound",
        )


def _written(settings: Settings) -> None:
    if not settings.validation.trust_anchor:
        raise wrong("validation.trust_anchor", '""', "name the file of the root's keys, like the default")
    for key in ("allowed_networks", "barred_networks"):
        for each in getattr(settings.validation, key):
            try:
                ip_network(each)
            except ValueError as error:
                raise wrong(
                    f"validation.{key}", each, f"{error}; write networks like 10.1.0.0/16 or fd00:1::/48"
                ) from error


def _networks(settings: Settings) -> None:
    for each in settings.validation.allowed_networks:
        network = ip_network(each)
        for never in NEVER_OPEN:
            if network.version == never.version and network.overlaps(never):
                raise wrong(
                    "validation.allowed_networks",
                    each,
                    f"it opens {never}, which is this machine or its link, to whoever orders: narrow it; "
                    "ca.local_names are for names of this machine",
                )


def _mpic(settings: Settings) -> None:
    mpic, perspectives = settings.mpic, settings.validation.perspectives
    elsewhere = [each for each in perspectives if each.url]
    for each in elsewhere:
        url("validation.perspectives.url", each.url, "https", "BR 3.2.2.9 asks for an authenticated channel")
    if (elsewhere or mpic.listen or mpic.zone) and not HOST_NAME.fullmatch(mpic.zone):
        raise wrong(
            "mpic.zone", mpic.zone or '""', "name the zone of the channel's certificates: mpic.ca.example"
        )
    if mpic.listen and len(perspectives) != 1:
        raise wrong(
            "mpic.listen",
            ", ".join(mpic.listen),
            "it is for a perspective's own host, whose settings list that one perspective alone",
        )
    gateway = urlsplit(mpic.gateway)
    if mpic.gateway and gateway.scheme != "http":
        url("mpic.gateway", mpic.gateway, "https", "or http://127.0.0.1:8000 on this host")
    elif mpic.gateway and not _is_loopback(gateway.hostname):
        raise wrong("mpic.gateway", mpic.gateway, "without TLS it must be at a loopback address, 127.0.0.1")


def _is_loopback(host: str | None) -> bool:
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def production(settings: Settings) -> None:
    """Require what a public CA in production needs of it, on every host.  Raises: `ConfigurationError`."""
    if settings.validation.allowed_networks:
        raise wrong(
            "validation.allowed_networks",
            ", ".join(settings.validation.allowed_networks),
            "a public CA in production reaches public addresses only: set it to []",
        )
    for key, port in PORTS.items():
        if (moved := getattr(settings.validation, key)) != port:
            raise wrong(f"validation.{key}", moved, f"BR 3.2.2.4.19 and .20 say port {port}: set it so")
    if not (settings.validation.unbound or settings.validation.resolver_config):
        raise wrong(
            "validation.resolver_config",
            '""',
            "nobody has examined whether validation.resolvers validate (BR 3.2.2.8.1): name their "
            'unbound.conf, or leave the resolver to us (validation.unbound = "/usr/sbin/unbound")',
        )
