"""repo_static/publisher.py and the words it publishes."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from core.configuration import load
from core.settings import Ca, Settings
from repo_static import publisher
from repo_static.store import Store
from signer.api import CrlRequest
from tests.support.editions import two_versions
from tests.support.software_vault import CREATED, DAY, SoftwareVault


@pytest.fixture(scope="module")
def vault() -> SoftwareVault:
    return SoftwareVault()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


class Page(HTMLParser):
    """The links, ids, languages and tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.language: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.attributes += values
        self.links += [str(values[name]) for name in ("href", "src") if name in values]
        if values.get("id"):
            self.ids.add(str(values["id"]))
        if tag == "html":
            self.language = values.get("lang")


def pages(store: Store) -> dict[str, Page]:
    return {str(path.relative_to(store.root)): Page(path.read_text()) for path in store.root.rglob("*.html")}


def test_the_whole_tree_is_written(store: Store, vault: SoftwareVault) -> None:
    changed = publisher.publish(store, vault.description(), Settings())
    files = {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()}
    assert set(changed) == {name for name in files if not name.endswith(".gz")}
    assert {"trust-anchor.crt", "trust-anchor.pem", "index.html", "ja/index.html"} <= set(changed)
    for issuer_id in ("ec1", "rsa1", "local1"):
        der = vault.issuers[issuer_id].der
        assert store.read(f"issuers/{issuer_id}.crt") == der
        pem = x509.load_pem_x509_certificates(store.read(f"issuers/{issuer_id}-chain.pem") or b"")
        assert [each.subject for each in pem] == [
            vault.issuers[issuer_id].certificate.subject,
            vault.root.certificate.subject,
        ]


@pytest.mark.clause("RFC 5280 section 4.2.2.1")
def test_the_root_stands_where_the_issuers_point_to(store: Store, vault: SoftwareVault) -> None:
    publisher.publish(store, vault.description(), Settings())
    assert store.read("issuers/root.crt") == vault.root.der
    assert store.read("crl/root-0.crl") == vault.root_crl


def test_an_older_root_crl_does_not_replace_a_newer_one(
    store: Store, vault: SoftwareVault, caplog: pytest.LogCaptureFixture
) -> None:
    newer = replace(vault.description(), root_crl=vault.make_root_crl(2))
    publisher.publish(store, newer, Settings())
    assert "crl/root-0.crl" not in publisher.publish(store, vault.description(), Settings())
    assert store.read("crl/root-0.crl") == newer.root_crl
    assert "older than the last ceremony" in caplog.text


def test_a_second_run_changes_nothing(store: Store, vault: SoftwareVault) -> None:
    publisher.publish(store, vault.description(), Settings())
    assert publisher.publish(store, vault.description(), Settings()) == []


def test_the_index_shows_the_fingerprints_and_the_crls(store: Store, vault: SoftwareVault) -> None:
    request = CrlRequest("ec1", 0, 5, CREATED, CREATED + 7 * DAY, ())
    store.replace("crl/ec1-0.crl", vault.crl(request))
    publisher.publish(store, vault.description(), Settings())
    for name in ("index.html", "ja/index.html"):
        text = (store.root / name).read_text().replace("<wbr>", "")
        for pair in (vault.root, *vault.issuers.values()):
            assert pair.certificate.fingerprint(hashes.SHA256()).hex(":").upper() in text
        assert "/crl/ec1-0.crl" in text
        assert "http://localhost:14080/ocsp" in text


@pytest.mark.clause("CPS 2.1")
def test_the_home_page_announces_planned_maintenance_in_both_languages(
    store: Store, vault: SoftwareVault
) -> None:
    publisher.publish(store, vault.description(), Settings())
    for name, words in (("index.html", "Planned maintenance"), ("ja/index.html", "計画メンテナンス")):
        assert words not in (store.root / name).read_text()
    planned = load(None, ["repository.maintenance=2026-12-05T01:00Z/2026-12-05T02:30Z"])
    assert set(publisher.publish_index(store, vault.description(), planned)) == {
        "index.html",
        "ja/index.html",
    }
    for name, words in (("index.html", "Planned maintenance"), ("ja/index.html", "計画メンテナンス")):
        page = (store.root / name).read_text()
        assert words in page
        assert "2026-12-05 01:00 – 2026-12-05 02:30 (UTC)" in page


def test_every_link_within_the_site_leads_somewhere(store: Store, vault: SoftwareVault) -> None:
    publisher.publish(store, vault.description(), Settings())
    for name in ("manifest.json", "manifest.jws"):
        store.replace(name, b"published by another, as soon as the vault has signed it")
    two_versions(store, Settings())
    found = pages(store)
    assert len(found) == 2 + 2 * (2 * 2 + 2 + 3 + 2)
    for name, page in found.items():
        for link in page.links:
            if link.startswith("#"):
                assert link[1:] in page.ids, (name, link)
            elif re.fullmatch(r"/(ja/)?(status|report)/", link):
                continue  # made by the status process: tests/status/pages
            elif not re.match(r"[a-z]+:", link):
                target = (
                    (store.root / name).parent / link if not link.startswith("/") else store.root / link[1:]
                )
                if link.endswith("/"):
                    target = target / "index.html"
                assert target.is_file(), (name, link)


def test_the_pages_load_nothing_from_elsewhere_and_run_nothing(store: Store, vault: SoftwareVault) -> None:
    publisher.publish(store, vault.description(), Settings())
    two_versions(store, Settings())
    for name, page in pages(store).items():
        assert not {"script", "img", "iframe", "object"} & set(page.tags), name
        assert not [a for a in page.attributes if a.startswith("on") or a == "style"], name
        assert page.language in ("en", "ja")


def test_text_from_the_settings_cannot_become_markup(store: Store, vault: SoftwareVault) -> None:
    evil = replace(Settings(), ca=Ca(organization="<script>alert(1)</script>"))
    publisher.publish(store, vault.description(), evil)
    two_versions(store, evil)
    for page in pages(store).values():
        assert "script" not in page.tags
