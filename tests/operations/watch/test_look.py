"""A CA that is well, and then one thing at a time that is not: the watch says exactly that."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from josepy import b64
from josepy.jwk import JWKEC

from operations.watch import fetch
from operations.watch.checks import documents
from operations.watch.finding import Finding, State
from operations.watch.scope import Anchor
from tests.operations.watch.conftest import Watching
from tests.support.paper_ca import DAY, HOUR, Authority, Page, PaperCa, at

CRL = "/crl/ec-1-0.crl"


def one(found: list[Finding], check: str, words: str, state: State = State.FAIL) -> None:
    """There is this finding and no other that is not well; it says what to do."""
    assert [(each.check, each.state) for each in found] == [(check, state)], found
    assert words in found[0].seen
    assert found[0].remedy


def all_of(found: list[Finding], words: str, *checks: str, state: State = State.FAIL) -> None:
    """What is not well is in these checks, and says the same."""
    assert {each.check for each in found} == set(checks), found
    assert all(words in each.seen and each.state is state and each.remedy for each in found), found


async def test_of_a_ca_that_is_well_the_watch_says_so(watching: Watching) -> None:
    found = await watching.look()
    assert [each for each in found if each.state is not State.OK] == []
    assert {each.check for each in found} == {
        *("repository", "page", "read-only", "issuer", "chain", "crl"),
        *("manifest", "manifest-files", "manifest-crls", "manifest-list"),
        *("ocsp-unassigned", "ocsp-and-crl", "site-valid", "site-revoked", "site-expired"),
        *("acme-directory", "acme-nonces", "acme-renewal-info"),
    }
    assert await watching.not_well() == []


# Trust


async def test_a_replaced_trust_anchor_is_not_believed(watching: Watching) -> None:
    watching.ca.files["/trust-anchor.crt"] = Page(watching.ca.stranger.der)
    one(await watching.not_well(), "repository", "another one than the pinned")


async def test_an_issuer_that_the_anchor_did_not_sign_is_not_believed(watching: Watching) -> None:
    watching.ca.files["/issuers/ec-1.crt"] = Page(watching.ca.stranger.der)
    one(await watching.not_well(), "repository", "signed neither by the trust anchor")


async def test_an_issuer_whose_digest_differs_is_told(watching: Watching) -> None:
    other = Authority("Paper Issuing CA", watching.ca.root, watching.ca.now)
    watching.ca.files["/issuers/ec-1.crt"] = Page(other.der)
    one(await watching.not_well(), "repository", "another SHA-256")


async def test_a_chain_that_ends_elsewhere_is_told(watching: Watching) -> None:
    ca = watching.ca
    ca.files["/issuers/ec-1-chain.pem"] = Page(ca.issuer.pem + ca.stranger.pem)
    one(await watching.not_well(), "chain", "does not lead from ec-1 to the pinned")


async def test_an_issuing_ca_near_its_end_is_told_in_time(watching: Watching) -> None:
    watching.ca.issuer.certificate = _again(watching.ca, 60)
    one(await watching.not_well(), "issuer", "ends in 60.0 d", State.WARN)


def _again(ca: PaperCa, days: int) -> x509.Certificate:
    """The issuer's certificate with its key and another end."""
    key = ca.issuer.key
    builder = x509.CertificateBuilder(
        ca.root.name, ca.issuer.name, key.public_key(), 77, at(ca.now - DAY), at(ca.now + days * DAY)
    )
    for each in ca.issuer.certificate.extensions:
        builder = builder.add_extension(each.value, each.critical)
    return builder.sign(ca.root.key, hashes.SHA256())


# CRLs


@pytest.mark.clause("BR 4.9.7")
async def test_a_crl_out_of_date(watching: Watching) -> None:
    watching.ca.crl_this, watching.ca.crl_next = watching.ca.now - 8 * DAY, watching.ca.now - DAY
    one(await watching.not_well(), "crl", "out of date: nextUpdate was 1.0 d ago")


@pytest.mark.clause("BR 4.9.7")
async def test_a_crl_that_will_be_out_of_date_by_tomorrow_is_told_today(watching: Watching) -> None:
    ca = watching.ca
    ca.crl_this, ca.crl_next = ca.now - 6 * DAY - 20 * HOUR, ca.now + 4 * HOUR
    one(await watching.not_well(), "crl", "there is no newer one")


async def test_a_crl_that_was_not_renewed_last_night_is_warned_of(watching: Watching) -> None:
    ca = watching.ca
    ca.crl_this, ca.crl_next = ca.now - 36 * HOUR, ca.now + 7 * DAY - 36 * HOUR
    one(await watching.not_well(), "crl", "is 1.5 d old", State.WARN)


@pytest.mark.clause("BR 4.9.7")
async def test_a_crl_that_is_valid_for_too_long(watching: Watching) -> None:
    watching.ca.crl_next = watching.ca.now + 20 * DAY
    one(await watching.not_well(), "crl", "BR 4.9.7 allows ten days")


async def test_a_crl_from_the_future(watching: Watching) -> None:
    watching.ca.crl_this = watching.ca.now + 2 * HOUR
    one(await watching.not_well(), "crl", "in the future")


async def test_http_headers_that_let_caches_keep_a_crl_beyond_its_end(watching: Watching) -> None:
    watching.ca.crl_headers = {"Cache-Control": "max-age=604800"}
    watching.ca.crl_next = watching.ca.now + 6 * DAY
    one(await watching.not_well(), "crl", "let caches keep the CRL 1.0 d beyond its end")


async def test_the_roots_crl_is_asked_for_weeks_before_its_end(watching: Watching) -> None:
    watching.ca.root_crl_next = watching.ca.now + 20 * DAY
    one(await watching.not_well(), "crl", "ends in 20.0 d", State.WARN)


async def test_a_crl_with_a_wrong_signature(watching: Watching) -> None:
    watching.ca.crl_signer = watching.ca.stranger
    one(await watching.not_well(), "crl", "not signed by ec-1: wrong signature")


async def test_a_crl_that_is_none(watching: Watching) -> None:
    watching.ca.files[CRL] = Page(b"<html>we are sorry</html>")
    one(await watching.not_well(), "crl", "no CRL that can be read")


async def test_a_crl_number_that_fell(watching: Watching) -> None:
    assert await watching.not_well() == []
    watching.ca.crl_number = 5
    one(await watching.not_well(), "crl", "fell from 7 to 5")
    watching.ca.crl_number = 8
    assert await watching.not_well() == []


async def test_two_crls_of_one_number(watching: Watching) -> None:
    assert await watching.not_well() == []
    watching.ca.crl_this -= 600
    one(await watching.not_well(), "crl", "two CRLs have the number 7")


@pytest.mark.clause("BR 4.10.1")
async def test_an_entry_that_left_the_crl_while_ocsp_calls_it_good_is_a_lost_revocation(
    watching: Watching,
) -> None:
    lost = watching.ca.revoke(watching.ca.issue())
    assert await watching.not_well() == []
    del watching.ca.revoked[lost]
    watching.ca.crl_number += 1
    one(await watching.not_well(), "crl", f"serial {lost:x} left the CRL, and OCSP says that it is good")


@pytest.mark.clause("BR 4.10.1")
async def test_an_entry_that_left_the_crl_before_its_certificates_end_is_told_although_ocsp_remembers(
    watching: Watching,
) -> None:
    serial = await watching.ca.site("revoked", watching.ca.now - DAY, watching.ca.now + 30 * DAY)
    assert await watching.not_well() == []
    watching.ca.crl_leaves_out.add(serial)
    watching.ca.crl_number += 1
    found = await watching.not_well()
    assert {each.check for each in found} == {"crl", "site-revoked"}
    assert f"serial {serial:x} left the CRL 30.0 d before its certificate's end" in found[0].seen


async def test_entries_of_expired_certificates_may_leave(watching: Watching) -> None:
    ca = watching.ca
    gone = ca.revoke(ca.issue())
    watching.memory.know("ec-1", gone, ca.now - HOUR)
    assert await watching.not_well() == []
    ca.crl_leaves_out.add(gone)
    ca.crl_number += 1
    assert await watching.not_well() == []


async def test_half_of_all_entries_that_leave_at_once_are_not_believed_to_have_expired(
    watching: Watching,
) -> None:
    ca = watching.ca
    many = {ca.revoke(ca.issue()) for _ in range(40)}
    assert await watching.not_well() == []
    ca.crl_leaves_out |= many
    ca.crl_number += 1
    one(await watching.not_well(), "crl", "40 of 44 entries that were followed left at once")


# OCSP


OCSP = ("manifest-list", "ocsp-and-crl", "site-valid", "site-revoked", "site-expired")


@pytest.mark.clause("BR 4.9.10")
async def test_ocsp_out_of_date(watching: Watching) -> None:
    watching.ca.ocsp_this, watching.ca.ocsp_next = watching.ca.now - 4 * DAY, watching.ca.now - HOUR
    all_of(await watching.not_well(), "out of date: nextUpdate was 1.0 h ago", *OCSP)


@pytest.mark.clause("BR 4.9.10")
async def test_ocsp_that_is_not_renewed_eight_hours_before_its_end(watching: Watching) -> None:
    ca = watching.ca
    ca.ocsp_this, ca.ocsp_next = ca.now - 3 * DAY - 18 * HOUR, ca.now + 6 * HOUR
    all_of(await watching.not_well(), "there is no newer one", *OCSP)


@pytest.mark.clause("BR 4.9.10")
async def test_ocsp_older_than_four_days(watching: Watching) -> None:
    watching.ca.ocsp_this, watching.ca.ocsp_next = watching.ca.now - 5 * DAY, watching.ca.now + 2 * DAY
    all_of(await watching.not_well(), "BR 4.9.10 asks for a new one after four days", *OCSP)


@pytest.mark.clause("BR 4.9.10")
async def test_ocsp_that_is_valid_for_too_long_as_after_an_upgrade(watching: Watching) -> None:
    watching.ca.ocsp_next = watching.ca.now + 20 * DAY
    all_of(await watching.not_well(), "eight hours to ten days", *OCSP)


async def test_ocsp_past_half_of_its_life_is_warned_of(watching: Watching) -> None:
    watching.ca.ocsp_this, watching.ca.ocsp_next = watching.ca.now - 3 * DAY, watching.ca.now + DAY
    all_of(await watching.not_well(), "more than half of its life", *OCSP, state=State.WARN)


@pytest.mark.clause("BR 4.9.10")
async def test_ocsp_that_calls_a_serial_good_that_nobody_issued(watching: Watching) -> None:
    watching.ca.ocsp_blind = True
    one(await watching.not_well(), "ocsp-unassigned", "nobody issued is called good")


async def test_ocsp_that_does_not_know_a_certificate_that_is_shown(watching: Watching) -> None:
    serial = await watching.ca.site("valid", watching.ca.now - DAY, watching.ca.now + 60 * DAY)
    watching.ca.issued.remove(serial)
    one(await watching.not_well(), "site-valid", "OCSP says unauthorized")


async def test_ocsp_that_disagrees_with_the_crl(watching: Watching) -> None:
    serial = watching.ca.revoke(watching.ca.issue())
    watching.ca.ocsp_says[serial] = "good"
    one(await watching.not_well(), "ocsp-and-crl", "it is on the CRL, and OCSP says good")


async def test_a_cache_that_holds_an_old_answer_for_get(watching: Watching) -> None:
    serial = watching.ca.revoke(watching.ca.issue())
    watching.ca.ocsp_get_says[serial] = "good"
    one(await watching.not_well(), "ocsp-and-crl", "POST says revoked (superseded), GET says good")


async def test_a_cache_that_answers_for_another_certificate(watching: Watching) -> None:
    watching.ca.ocsp_mixes_up = True
    all_of(await watching.not_well(), "the answer is for", *OCSP)


async def test_ocsp_signed_by_somebody_else(watching: Watching) -> None:
    watching.ca.ocsp_signer = watching.ca.stranger
    all_of(await watching.not_well(), "not signed by the issuer", *OCSP)


async def test_a_responder_near_its_end(watching: Watching) -> None:
    ca = watching.ca
    ca.ocsp_next, ca.responder_ends = ca.now + DAY, ca.now + DAY + HOUR
    all_of(await watching.not_well(), "responder's certificate ends in", *OCSP, state=State.WARN)


@pytest.mark.clause("requirements 2.68")
async def test_an_answer_that_outlasts_its_responder(watching: Watching) -> None:
    watching.ca.responder_ends = watching.ca.now + 3 * DAY
    all_of(await watching.not_well(), "outlasts its responder", *OCSP)


async def test_http_headers_that_let_caches_keep_an_answer_beyond_its_end(watching: Watching) -> None:
    watching.ca.ocsp_headers = {"Cache-Control": "public, max-age=864000"}
    all_of(await watching.not_well(), "let caches keep an OCSP answer 6.0 d beyond", *OCSP)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (Page(b"", status=404), "HTTP status 404"),
        (Page(b"<html>", "text/html"), "no application/ocsp-response"),
        (Page(b"\x30\x03\x0a\x01\x06", "application/ocsp-response"), "unauthorized"),
        (Page(b"\x30\x03\x0a\x01\x03", "application/ocsp-response"), "TRY_LATER"),
        (Page(bytes(100_000), "application/ocsp-response"), "more than 65536 octets"),
        (Page(b"junk", "application/ocsp-response"), "no OCSP response that can be read"),
    ],
    ids=["404", "html", "unauthorized", "try-later", "huge", "junk"],
)
async def test_no_ocsp(watching: Watching, page: Page, words: str) -> None:
    watching.ca.files["/ocsp"] = page
    found = await watching.not_well()
    assert any(words in each.seen for each in found if each.check == "site-valid"), found


# Test sites


async def test_a_valid_site_that_has_expired_as_they_do_when_renewal_broke_in_silence(
    watching: Watching,
) -> None:
    await watching.ca.site("valid", watching.ca.now - 90 * DAY, watching.ca.now - DAY)
    one(await watching.not_well(), "site-valid", "expired 1.0 d ago: the site should show one that is valid")


async def test_a_site_that_is_renewed_late_is_told_before_it_ends(watching: Watching) -> None:
    await watching.ca.site("valid", watching.ca.now - 86 * DAY, watching.ca.now + 4 * DAY)
    one(await watching.not_well(), "site-valid", "was not renewed")


@pytest.mark.clause("BR 2.2")
async def test_a_revoked_site_that_is_good(watching: Watching) -> None:
    serial = await watching.ca.site("revoked", watching.ca.now - DAY, watching.ca.now + 60 * DAY)
    del watching.ca.revoked[serial]
    one(await watching.not_well(), "site-revoked", "OCSP says good of the revoked site's certificate")


@pytest.mark.clause("BR 2.2")
async def test_a_revoked_site_that_has_expired(watching: Watching) -> None:
    await watching.ca.site("revoked", watching.ca.now - 90 * DAY, watching.ca.now - DAY)
    one(await watching.not_well(), "site-revoked", "should show one that is revoked")


async def test_a_revoked_site_that_is_on_no_crl(watching: Watching) -> None:
    serial = await watching.ca.site("revoked", watching.ca.now - DAY, watching.ca.now + 60 * DAY)
    watching.ca.crl_leaves_out.add(serial)
    one(await watching.not_well(), "site-revoked", "the CRL says good of the revoked site's")


@pytest.mark.clause("BR 2.2")
async def test_an_expired_site_that_is_valid(watching: Watching) -> None:
    await watching.ca.site("expired", watching.ca.now - DAY, watching.ca.now + DAY)
    one(await watching.not_well(), "site-expired", "has not expired")


async def test_an_expired_site_that_is_revoked(watching: Watching) -> None:
    serial = await watching.ca.site("expired", watching.ca.now - 3 * DAY, watching.ca.now - DAY)
    watching.ca.revoke(serial)
    one(await watching.not_well(), "site-expired", "OCSP says revoked of the expired site's")


async def test_a_site_with_a_certificate_of_somebody_else(watching: Watching) -> None:
    await watching.ca.site("valid", watching.ca.now - DAY, watching.ca.now + DAY, by=watching.ca.stranger)
    one(await watching.not_well(), "site-valid", "does not verify up to the trust anchor")


async def test_a_site_with_another_name(watching: Watching) -> None:
    await watching.ca.site("valid", watching.ca.now - DAY, watching.ca.now + 60 * DAY, name="other.example")
    one(await watching.not_well(), "site-valid", "does not verify up to the trust anchor")


async def test_a_site_where_nobody_is(watching: Watching) -> None:
    watching.ca.sites["expired"].close()
    one(await watching.not_well(), "site-expired", "no TLS")


# The ACME server, pages, HTTP


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


# The manifest


@pytest.mark.parametrize("octets", [b'"sequence": 101', b'"sequence": 99'])
async def test_an_altered_manifest(watching: Watching, octets: bytes) -> None:
    jws = json.loads(watching.ca.jws(json.dumps(watching.ca.manifest()).encode()))
    payload = b64.b64decode(jws["payload"]).replace(b'"sequence": 100', octets)
    jws["payload"] = b64.b64encode(payload).decode()
    watching.ca.files["/manifest.jws"] = Page(json.dumps(jws).encode())
    one(await watching.not_well(), "repository", "a signature of the manifest is wrong")


async def test_a_manifest_by_another_key_than_the_pinned(watching: Watching) -> None:
    watching.manifest_key = b64.b64encode(JWKEC(key=watching.ca.manifest_key).thumbprint()).decode()
    assert await watching.not_well() == []
    watching.ca.manifest_key = ec.generate_private_key(ec.SECP256R1())
    one(await watching.not_well(), "repository", "and not by the pinned")


async def test_something_else_that_the_manifest_key_signed(watching: Watching) -> None:
    watching.ca.manifest_typ = "something-else+json"
    one(await watching.not_well(), "repository", "signed in a way that is not agreed upon")


async def test_a_manifest_whose_number_fell(watching: Watching) -> None:
    assert await watching.not_well() == []
    watching.ca.manifest_number = 99
    one(await watching.not_well(), "manifest", "fell from 100 to 99")


async def test_a_manifest_out_of_date(watching: Watching) -> None:
    watching.ca.manifest_next = watching.ca.now - HOUR
    one(await watching.not_well(), "manifest", "out of date: nextUpdate was 1.0 h ago")


async def test_a_manifest_that_soon_will_be(watching: Watching) -> None:
    watching.ca.manifest_this, watching.ca.manifest_next = watching.ca.now - 2 * DAY, watching.ca.now + HOUR
    one(await watching.not_well(), "manifest", "is 2.0 d old and ends in", State.WARN)


async def test_an_unsigned_manifest_that_says_something_else(watching: Watching) -> None:
    watching.ca.files["/manifest.json"] = Page(b'{"sequence": 100}')
    one(await watching.not_well(), "manifest", "other octets than those that were signed")


async def test_a_document_that_was_changed(watching: Watching) -> None:
    watching.ca.files["/cps/cp-cps-1.0.en.md"] = Page(b"# other")
    one(await watching.not_well(), "manifest-files", "another SHA-256 than the manifest says")


async def test_a_crl_that_is_not_the_one_of_the_manifest(watching: Watching) -> None:
    watching.ca.files[CRL] = Page(
        watching.ca.crl(), headers=watching.ca.crl_headers
    )  # the same number, signed once more
    watching.ca._kept_crl()
    one(await watching.not_well(), "manifest-crls", "another SHA-256")


async def test_a_crl_that_the_manifest_does_not_know(watching: Watching) -> None:
    watching.ca.bend = lambda said: said["crls"].pop()
    one(await watching.not_well(), "manifest-crls", "is not in the manifest")


async def test_a_daily_list_that_was_changed(watching: Watching) -> None:
    watching.ca.files["/issued.jsonl"] = Page(b"{}\n")
    one(await watching.not_well(), "manifest-list", "have another SHA-256")


@pytest.mark.clause("requirements 2.67")
async def test_a_precertificate_of_the_daily_list_that_ocsp_does_not_know(watching: Watching) -> None:
    watching.ca.listed["issued"].add(4711)
    one(await watching.not_well(), "manifest-list", "was issued today, and OCSP says unauthorized")


async def test_a_revocation_of_the_daily_list_that_is_public_nowhere(watching: Watching) -> None:
    watching.ca.listed["revoked"].add(watching.ca.issue())
    one(await watching.not_well(), "manifest-list", "was revoked today, and OCSP says good")


async def test_a_revocation_of_the_daily_list_that_is_on_no_crl(watching: Watching) -> None:
    serial = watching.ca.revoke(watching.ca.issue())
    watching.ca.listed["revoked"].add(serial)
    watching.ca.crl_leaves_out.add(serial)
    one(await watching.not_well(), "manifest-list", "revoked an hour ago, and is on no CRL")


async def test_a_ca_that_is_not_there(watching: Watching) -> None:
    await watching.ca.stop()
    one(await watching.not_well(), "repository", "manifest.jws")
    await watching.ca.start()


async def test_a_fault_of_a_check_is_told_and_hides_no_other(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> str:
        raise KeyError("a fault of ours")

    monkeypatch.setattr(documents, "read_only", broken)
    one(await watching.not_well(), "read-only", "the check itself failed: KeyError")


async def test_words_of_a_stranger_drive_no_terminal(watching: Watching) -> None:
    watching.ca.bend = lambda said: said["issuers"][0].update(id="\x1b[2Jec-1\n")
    for each in await watching.look():
        assert f"{each.subject}{each.seen}".isprintable()


def test_a_pin_is_a_file_or_a_fingerprint(watching: Watching, tmp_path: Any) -> None:
    root = watching.ca.root
    for content in (root.der, root.pem):
        (tmp_path / "anchor").write_bytes(content)
        assert Anchor.read(str(tmp_path / "anchor")).fingerprint == watching.anchor.fingerprint
    shown = root.certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    assert Anchor.read(f"sha256:{shown}") == watching.anchor
    for wrong in ("sha256:abcd", str(tmp_path / "none")):
        with pytest.raises(Exception, match="--anchor"):
            Anchor.read(wrong)
