"""How a setting is refused: its key, its value, and what to write instead; forms that settings share."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from core.errors import ConfigurationError

HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)
CODE = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def url(key: str, url: str, scheme: str, why: str) -> None:
    """Require scheme://host or scheme://host:port.  Raises: `ConfigurationError`."""
    parts = urlsplit(url)
    try:
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        port_fits = False
    if parts.scheme != scheme:
        raise wrong(key, url, f"it must begin with {scheme}://: {why}")
    if not parts.hostname or not port_fits or url != f"{scheme}://{parts.netloc}" or "@" in parts.netloc:
        raise wrong(
            key, url, f"write {scheme}://host or {scheme}://host:port, without a path or a last slash"
        )


def wrong(key: str, value: object, remedy: str) -> ConfigurationError:
    """The refusal, to be raised."""
    return ConfigurationError(f"{key} = {value}: {remedy}")
