"""operations/watch/checks/acme.py, pages and HTTP: one thing at a time that is not well."""

from __future__ import annotations

import pytest

from operations.watch import fetch
from operations.watch.finding import State
from tests.operations.watch.conftest import Watching
from tests.operations.watch.expected import all_of, one
from tests.support.paper_ca import Page


async def test_a_directory_without_something_that_clients_need(watching: Watching) -> None:
    watching.ca.files["/acme/directory"] = Page(b'{"newNonce": "http://x/"}')
    one(await watching.not_well(), "acme-directory", "has no newAccount, newOrder")


@pytest.mark.clause("RFC 8555 section 6.5")
async def test_a_cache_that_keeps_nonces(watching: Watching) -> None:
    watching.ca.nonces = ["same"] * 10
    one(await watching.not_well(), "acme-nonces", "the same nonce twice")


@pytest.mark.clause("RFC 9773 section 4.3")
async def test_renewal_information_without_retry_after(watching: Watching) -> None:
    ca, original = watching.ca, watching.ca._pages

    def bent(path: str) -> Page | None:
        page = original(path)
        if page is not None and path.startswith("/acme/ari/"):
            page.headers = {}
        return page

    ca._pages = bent  # type: ignore[method-assign]
    found = await watching.not_well()
    all_of(found, "no Retry-After", "acme-renewal-info")


@pytest.mark.parametrize(
    ("path", "page", "check", "words"),
    [
        ("/cps/", Page(b"", status=404), "page", "HTTP status 404"),
        ("/cps/", Page(b"", "text/html"), "page", "0 octets"),
        ("/", Page(b"", status=302, headers={"Location": "http://127.0.0.1:1/"}), "page", "HTTP status 302"),
        ("/manifest.jws", Page(b"[]"), "repository", "no signed manifest that can be read"),
        ("/manifest.jws", Page(b"[" * 100_000), "repository", "no signed manifest that can be read"),
        ("/manifest.jws", Page(bytes(17 << 20)), "repository", "more than 16777216 octets"),
    ],
    ids=["404", "empty", "redirect", "list", "deep", "huge"],
)
async def test_pages_and_lists_that_are_not_what_they_should_be(
    watching: Watching, path: str, page: Page, check: str, words: str
) -> None:
    watching.ca.files[path] = page
    one(await watching.not_well(), check, words)


async def test_a_server_that_never_ends_its_answer(watching: Watching) -> None:
    watching.patience = 0.5
    watching.ca.files["/cps/"] = Page(b"late", "text/html", wait=2)
    one(await watching.not_well(), "page", "no whole answer within 0.5 s")


async def test_a_slow_server_is_warned_of(watching: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "SLOW", 0.2)
    watching.ca.files["/cps/"] = Page(b"late", "text/html", wait=0.3)
    one(await watching.not_well(), "page", "the answer took", State.WARN)
