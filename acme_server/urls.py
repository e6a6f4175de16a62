"""The URLs of the resources: unguessable (RFC 8555 section 10.5) and, for accounts, stable for ever."""

from __future__ import annotations

from core.database import Rows, Transaction
from core.errors import ConfigurationError
from core.settings import Settings

DIRECTORY = "/directory"
NEW_NONCE = "/acme/new-nonce"
NEW_ACCOUNT = "/acme/new-account"
NEW_ORDER = "/acme/new-order"
NEW_AUTHORIZATION = "/acme/new-authz"
KEY_CHANGE = "/acme/key-change"
REVOKE_CERT = "/acme/revoke-cert"
RENEWAL_INFO = "/acme/renewal-info"
PREFLIGHT = "/acme/preflight"
EXPLANATION = "{+authorization}/explanation"
"""RFC 6570, by an authorization's URL: our own document, not in the RFC."""
LIMITS = "/acme/limits"
LIMITS_PAGE = "/limits"


class Urls:
    """Absolute URLs below `acme.base_url`."""

    def __init__(self, settings: Settings) -> None:
        self.base = settings.acme.base_url.rstrip("/")
        self.directory = self.base + DIRECTORY
        self.limits = self.base + LIMITS_PAGE
        repository = settings.repository.base_url.rstrip("/")
        self.terms = f"{repository}/terms/terms-{settings.ca.terms_version}.en.html"
        self._account = f"{self.base}/acme/account/"

    def account(self, account_id: str) -> str:
        return self._account + account_id

    def account_id(self, kid: str) -> str | None:
        """The id in an account URL of ours, or None."""
        return kid.removeprefix(self._account) if kid.startswith(self._account) else None

    def orders(self, account_id: str) -> str:
        return f"{self._account}{account_id}/orders"

    def order(self, order_id: str) -> str:
        return f"{self.base}/acme/order/{order_id}"

    def finalize(self, order_id: str) -> str:
        return f"{self.base}/acme/order/{order_id}/finalize"

    def authorization(self, authorization_id: str) -> str:
        return f"{self.base}/acme/authorization/{authorization_id}"

    def challenge(self, challenge_id: str) -> str:
        return f"{self.base}/acme/challenge/{challenge_id}"

    def certificate(self, certificate_id: str, chain: int = 0) -> str:
        """The certificate with its default chain (0) or an alternate one."""
        return f"{self.base}/acme/certificate/{certificate_id}" + (f"/{chain}" if chain else "")


def bind_base(tx: Transaction, urls: Urls) -> None:
    """Fix the base URL for ever, together with the first account."""
    tx.execute("INSERT OR IGNORE INTO facts (name, value) VALUES ('base_url', ?)", (urls.base,))


def check_base(rows: Rows, urls: Urls) -> None:
    """Raises `ConfigurationError` when accounts were made under another base URL."""
    row = rows.one("SELECT value FROM facts WHERE name = 'base_url'")
    if row is not None and row["value"] != urls.base:
        raise ConfigurationError(
            f"acme.base_url is {urls.base!r}, but accounts exist under {row['value']!r}: their URLs are bound"
            f" into CAA records and DNS labels. Set acme.base_url back to {row['value']!r}, or use a new data"
            " directory"
        )
