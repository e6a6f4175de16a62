"""status/pages/certificate.py and lookup.py: the status page never says more than OCSP."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from repo_static import publisher
from repo_static.store import Store
from tests.support.software_vault import DAY, certificate


@pytest.fixture
async def tree(site: Any) -> Any:
    """The public tree with issuers and CRLs in it."""
    house = site.house
    await house.updater().update()
    publisher.publish(Store(house.data.repository), house.vault.description(), house.settings)
    return site


async def ask(site: Any, text: str, files: dict[str, bytes] | None = None) -> list[dict[str, Any]]:
    """The answer for programs."""
    answer = await site.post("/status/", {"certificate": text}, files, Accept="application/json")
    found = json.loads(await answer.text())
    return list(found["certificates"])


def leaf(site: Any, serial: bytes, issuer_id: str = "ec1") -> bytes:
    octets: bytes = site.house.vault.leaf(issuer_id, serial)
    return octets


@pytest.mark.clause("RFC 6960 section 2.2")
async def test_good_revoked_and_unknown_are_what_ocsp_says(tree: Any) -> None:
    good, bad, drawn = (await tree.house.issue(), await tree.house.issue(), await tree.house.reserve())
    await tree.house.revoke(bad, 4)
    (found,) = await ask(tree, good.hex())
    assert (found["status"], found["ocsp"]["status"], found["crl"]["revoked"]) == ("good", "good", False)
    (found,) = await ask(tree, bad.hex())
    assert (found["status"], found["ocsp"]["status"], found["reason"]) == ("revoked", "revoked", "superseded")
    assert found["crl"]["revoked"] is False
    await tree.house.updater().update()
    (found,) = await ask(tree, bad.hex())
    assert found["crl"]["revoked"] is True
    for serial in (drawn.hex(), "0badc0de"):
        (found,) = await ask(tree, serial)
        assert found["status"] == "unknown"


async def test_the_download_is_the_ocsp_answer(tree: Any) -> None:
    serial = await tree.house.issue()
    (found,) = await ask(tree, serial.hex())
    path = "/ocsp/" + found["ocsp"]["url"].partition("/ocsp/")[2]
    async with tree.client.get(URL(tree.url(path), encoded=True)) as response:
        answer = ocsp.load_der_ocsp_response(await response.read())
    assert answer.serial_number == int.from_bytes(serial, "big")


@pytest.mark.parametrize("form", ["hex", "colons", "decimal", "openssl", "0x"])
async def test_a_serial_number_is_read_as_tools_show_it(tree: Any, form: str) -> None:
    serial = await tree.house.issue()
    text = {
        "hex": serial.hex().upper(),
        "colons": serial.hex(":"),
        "decimal": str(int.from_bytes(serial, "big")),
        "openssl": f"serial={serial.hex().upper()}",
        "0x": f"0x{serial.hex()}",
    }[form]
    assert [each["serial"] for each in await ask(tree, text)] == [serial.hex()]


async def test_of_a_bare_serial_number_only_status_dates_and_issuer_are_told(tree: Any) -> None:
    serial = await tree.house.issue()
    (found,) = await ask(tree, serial.hex())
    assert not {"names", "subject", "sha256", "key_sha256", "logs"} & found.keys()
    assert "www.ca.example" not in json.dumps(found)


@pytest.mark.parametrize("how", ["pem", "file", "der", "chain"])
async def test_a_certificate_is_pasted_or_chosen(tree: Any, how: str) -> None:
    serial = await tree.house.issue()
    pem = leaf(tree, serial)
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    chain = pem + tree.house.vault.issuers["ec1"].certificate.public_bytes(Encoding.PEM)
    text, files = {
        "pem": (pem.decode(), None),
        "file": ("", {"file": pem}),
        "der": ("", {"file": der}),
        "chain": (chain.decode(), None),
    }[how]
    found = await ask(tree, text, files)
    assert (found[0]["status"], found[0]["serial"], found[0]["issuer"]) == ("good", serial.hex(), "ec1")
    assert "sha256" in found[0]
    assert len(found) == (2 if how == "chain" else 1)


def publish(site: Any) -> None:
    publisher.publish(Store(site.house.data.repository), site.house.vault.description(), site.house.settings)


@pytest.mark.clause("BR 4.9.7")
async def test_an_issuing_ca_stands_as_the_roots_crl_says(tree: Any) -> None:
    ca = tree.house.vault.issuers["ec1"].certificate
    pem, serial = ca.public_bytes(Encoding.PEM).decode(), f"{ca.serial_number:02x}"
    for text in (pem, serial):
        (found,) = await ask(tree, text)
        assert (found["status"], found["serial"], found["issuer"]) == ("good", serial, "root")
        assert (found["ocsp"], found["crl"]["number"], found["crl"]["revoked"]) == (None, 1, False)
        assert found["crl"]["url"].endswith("/crl/root-0.crl")
    tree.house.vault.root_crl = tree.house.vault.make_root_crl(2, ca.serial_number)
    publish(tree)
    (found,) = await ask(tree, pem)
    assert (found["status"], found["reason"], found["crl"]["revoked"]) == ("revoked", "cACompromise", True)
    (other,) = await ask(
        tree, tree.house.vault.issuers["rsa1"].certificate.public_bytes(Encoding.PEM).decode()
    )
    assert other["status"] == "good"


@pytest.mark.clause("BR 4.9.7")
async def test_an_issuing_ca_is_not_called_good_by_a_root_crl_that_is_over_or_not_there(tree: Any) -> None:
    pem = tree.house.vault.issuers["ec1"].certificate.public_bytes(Encoding.PEM).decode()
    tree.house.clock.at += 200 * DAY
    (found,) = await ask(tree, pem)
    assert found["status"] == "undetermined"
    assert "Only the root" in await (await tree.post("/status/", {"certificate": pem})).text()
    (tree.house.data.repository / "crl/root-0.crl").unlink()
    (found,) = await ask(tree, pem)
    assert (found["status"], found["crl"]) == ("undetermined", None)
    tree.house.clock.at += 1000 * DAY
    (found,) = await ask(tree, pem)
    assert found["status"] == "expired"


@pytest.mark.parametrize(
    ("language", "sentence"),
    [("", "Nobody revokes it by a CRL"), ("/ja", "CRL や OCSP で失効することはありません")],
)
async def test_of_the_trust_anchor_it_is_said_that_nobody_revokes_it_by_crl(
    tree: Any, language: str, sentence: str
) -> None:
    pem = tree.house.vault.root.certificate.public_bytes(Encoding.PEM).decode()
    (found,) = await ask(tree, pem)
    assert (found["status"], found["ocsp"], found["crl"]) == ("trust-anchor", None, None)
    text = await (await tree.post(f"{language}/status/", {"certificate": pem})).text()
    assert sentence in text
    assert "/crl/" not in text


async def test_a_certificate_of_another_ca_is_not_ours_whatever_its_serial(tree: Any) -> None:
    serial = await tree.house.issue()
    number, end = int.from_bytes(serial, "big"), tree.house.clock.now() + DAY
    stranger = certificate("Stranger", None, "ec", end, number, ca=False, ocsp_signing=False)
    (found,) = await ask(tree, stranger.certificate.public_bytes(Encoding.PEM).decode())
    assert (found["status"], found["ocsp"]) == ("not-ours", None)


async def test_an_expired_certificate_is_called_expired(tree: Any) -> None:
    serial = await tree.house.issue(days=1)
    tree.house.clock.at += 2 * DAY
    (found,) = await ask(tree, serial.hex())
    assert found["status"] == "expired"


async def test_without_a_signed_answer_nothing_is_called_good(tree: Any) -> None:
    serial = await tree.house.issue()
    tree.house.vault.away = True
    (found,) = await ask(tree, serial.hex())
    assert (found["status"], found["ocsp"]) == ("undetermined", None)
    assert found["crl"]["revoked"] is False


async def test_without_the_register_the_published_crl_speaks(tree: Any) -> None:
    bad, good = await tree.house.issue(), await tree.house.issue()
    await tree.house.revoke(bad, 1)
    await tree.house.updater().update()
    tree.house.reader.close()
    for text in (leaf(tree, bad).decode(), bad.hex()):
        (found,) = await ask(tree, text)
        assert (found["status"], found["register_read"]) == ("revoked", False)
    (found,) = await ask(tree, good.hex())
    assert (found["status"], found["register_read"]) == ("undetermined", False)


@pytest.mark.parametrize("language", ["", "/ja"])
async def test_the_page_says_it_to_people(tree: Any, language: str) -> None:
    serial = await tree.house.issue()
    await tree.house.revoke(serial, 1)
    status, text = await tree.get(f"{language}/status/?serial={serial.hex()}")
    assert status == 200
    for part in ("keyCompromise", "/crl/ec1-0.crl", "openssl ocsp", "2026-11-23 00:00 UTC"):
        assert part in text


@pytest.mark.parametrize(
    "text", ["", "what?", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
async def test_what_cannot_be_read_is_said_so(tree: Any, text: str) -> None:
    answer = await tree.post("/status/", {"certificate": text})
    assert answer.status == 422
    assert answer.headers["Cache-Control"] == "no-store"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(max_size=80)
    | st.sampled_from(["<script>1</script>", '"><img>', "</textarea><b>", "{{ 7*7 }}x", "serial=<b>"])
)
async def test_nothing_that_a_stranger_pastes_becomes_markup(tree: Any, text: str) -> None:
    answer = await tree.post("/status/", {"certificate": text})
    assert answer.status in (200, 422, 429)
    page = await answer.text()
    for markup in ("<script>", "<img", "<b>", "49x"):
        assert markup not in page
