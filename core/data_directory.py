"""Where things lie in a data directory: one CA, all of it, below one path."""

from __future__ import annotations

from pathlib import Path


class DataDirectory:
    """The layout of house: every room asks here and joins no path by itself."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.database = self.root / "ca.sqlite"
        self.trust_anchor = self.root / "trust-anchor.pem"
        self.tokens = self.root / "tokens"
        self.vault = self.root / "vault"
        self.journal = self.vault / "journal"
        self.hierarchy = self.vault / "hierarchy.json"
        self.pin = self.vault / "pin"
        self.shares = self.vault / "shares"
        self.perspectives = self.root / "perspectives"
        self.mpic = self.root / "mpic"
        self.audit = self.root / "audit"
        self.restored = self.audit / "restored"
        self.tls = self.root / "tls"
        self.bindings = self.root / "bindings"
        self.nonces = self.root / "nonces"
        self.repository = self.root / "repository"
        self.ocsp_files = self.repository / "ocsp"
        self.status = self.root / "status"
        self.answers = self.status / "answers"
        self.sites = self.root / "sites"
        self.reports = self.root / "reports"
        self.run = self.root / "run"
        self.log = self.root / "log"
        self.vault_socket = self.run / "vault.sock"
        self.app_socket = self.run / "app.sock"
        self.keeper_state = self.run / "keeper.json"
        self.register_mark = self.run / "register.json"

    def perspective(self, code: str) -> Path:
        """The private directory of the perspective `code` (its key and passphrase)."""
        return self.perspectives / code

    def channel(self, code: str) -> Path:
        """The private directory of the TLS identity with which the perspective `code` is asked elsewhere."""
        return self.perspective(code) / "channel"

    def perspective_socket(self, code: str) -> Path:
        """The socket of the perspective `code`."""
        return self.run / f"perspective-{code}.sock"
