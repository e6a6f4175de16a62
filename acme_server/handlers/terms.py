"""Changed terms of service: the page where a person agrees to them (RFC 8555 section 7.3.3).

ACME itself has no request for it: a client is refused with the URL of this page (`instance`), which only
someone who signed with the account's key has been told.  The URL carries a MAC over account and version, so
it needs no row, is alike on all hosts and after a restart, and is good for this version alone.

Must never: let an account agree by anything but its own link.
"""

from __future__ import annotations

import hmac
import html
from collections.abc import Mapping

from acme_server.context import Context
from acme_server.exchange import Reply
from acme_server.objects import Account
from acme_server.problems import ErrorType, not_found, refusal
from acme_server.states import AccountStatus
from acme_server.store import accounts
from core.database import Transaction

PATH = "/terms/{account}/{tag}"

HEADERS = {
    # Nobody lays another page over the button, and no server of others is told the link.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
}

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Terms of service / 利用規約</title>
<style>body{{font:1.1rem/1.6 system-ui;max-width:40rem;margin:4rem auto;padding:0 1rem}}</style>
<h1>Terms of service <small lang="ja">利用規約</small></h1>{body}"""
_ASK = """<p>The terms of service are now version {version}. Please read
<a href="{terms}">the terms</a>; your ACME account<br><code>{account}</code><br>can order certificates again
once you agree.</p>
<p lang="ja">利用規約が改定され、第{version}版になりました。<br>
<a href="{terms}">利用規約</a>をお読みください。<br>
同意いただくと、上記のACMEアカウントから再び証明書を申請できます。</p>
<form method="post"><button>I have read the terms and agree<br>
<span lang="ja">利用規約を読み、同意します</span></button></form>"""
_DONE = """<p>Thank you. The account has agreed to version {version}; your client can try again now.</p>
<p lang="ja">ありがとうございます。このアカウントは第{version}版に同意しました。<br>
クライアントを再度実行してください。</p>"""


class Terms:
    """Which terms are in force, and who has agreed to them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._version = context.settings.ca.terms_version
        self._key = context.binding_secret.derived(b"acme terms of service: " + self._version.encode(), 32)

    def must_have_agreed(self, account: Account) -> None:
        """Raises `Problem` (userActionRequired) with the page as `instance`."""
        if account.terms_version == self._version:
            return
        urls = self._context.urls
        page = f"{urls.base}/terms/{account.id}/{self._tag(account.id)}"
        raise refusal(
            ErrorType.USER_ACTION_REQUIRED,
            f"the terms of service have changed; a person must agree to them at {page}",
            headers={"Link": f'<{urls.terms}>;rel="terms-of-service"'},
            extra={"instance": page},
        )

    async def show(self, context: Context, path: Mapping[str, str]) -> Reply:
        """The page."""
        account = self._account(path)
        return self._page(_ASK, terms=context.urls.terms, account=account.url)

    async def agree(self, context: Context, path: Mapping[str, str]) -> Reply:
        """The button."""
        account = self._account(path)

        def unit(tx: Transaction) -> None:
            accounts.set_terms(tx, account.id, self._version)
            tx.audit("account.terms-agreed", f"account:{account.id}", {"terms": self._version})

        if account.terms_version != self._version:
            await context.database.write(unit)
        return self._page(_DONE)

    def _account(self, path: Mapping[str, str]) -> Account:
        genuine = hmac.compare_digest(path["tag"].encode(), self._tag(path["account"]).encode())
        account = accounts.by_id(self._context.database.reader, path["account"]) if genuine else None
        if account is None or account.status is not AccountStatus.VALID:
            raise not_found("page; order again to get a new link")
        return account

    def _tag(self, account_id: str) -> str:
        return hmac.digest(self._key, account_id.encode(), "sha256").hex()[:32]

    def _page(self, body: str, **values: str) -> Reply:
        values["version"] = self._version
        shown = body.format_map({name: html.escape(value) for name, value in values.items()})
        page = _PAGE.format(body=shown).encode()
        return Reply(content=page, content_type="text/html; charset=utf-8", headers=HEADERS)
