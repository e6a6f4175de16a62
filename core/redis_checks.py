"""What must hold between the settings of Redis.

RFC 8555 section 6.5.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from core.refusal import CODE, wrong
from core.settings import Settings

LONGEST_TIMEOUT = 10
"""Seconds: whoever waits longer for a nonce has gone away."""

SCHEMES = ("redis", "rediss", "unix")


def undated(settings: Settings) -> None:
    """Require what holds at any time.  Raises: `ConfigurationError` for the first thing that does not."""
    redis = settings.redis
    if not CODE.fullmatch(redis.prefix):
        raise wrong("redis.prefix", redis.prefix, "use a-z, 0-9 and -, at most 32 characters")
    if redis.timeout > LONGEST_TIMEOUT:
        raise wrong("redis.timeout", redis.timeout, f"{LONGEST_TIMEOUT} seconds at most: subscribers wait")
    if not redis.url:
        for name in ("password_file", "secret_file", "ca_file"):
            if value := getattr(redis, name):
                raise wrong(
                    f"redis.{name}", value, "it is for a Redis: name that as redis.url, or empty this"
                )
        return
    parts = urlsplit(redis.url)
    if parts.password is not None:
        # The URL itself would show the password.
        raise wrong("redis.url", f"{parts.scheme}://…", "write the password into a file: redis.password_file")
    if parts.scheme not in SCHEMES or parts.query or parts.fragment or not _names_a_place(parts):
        raise wrong(
            "redis.url",
            redis.url,
            "write redis://host:port/0, rediss://host:port/0 (TLS) or unix:///path/to/the.sock",
        )
    if redis.ca_file and parts.scheme != "rediss":
        raise wrong("redis.ca_file", redis.ca_file, "it is for TLS: write rediss:// in redis.url")
    if settings.deployment.production and parts.scheme == "redis" and not _is_here(parts.hostname or ""):
        raise wrong(
            "redis.url",
            redis.url,
            "production does not send its password in the clear: write rediss:// (TLS)",
        )


def _names_a_place(parts: SplitResult) -> bool:
    if parts.scheme == "unix":
        return parts.path.startswith("/") and parts.hostname is None
    try:
        port = parts.port
    except ValueError:
        return False
    return bool(parts.hostname) and port != 0 and bool(re.fullmatch(r"(/\d{1,4})?", parts.path))


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
