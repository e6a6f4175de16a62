"""status/pages/report.py and receipt.py: anybody reports a problem, whatever else is down."""

from __future__ import annotations

import base64
import json
import logging
import stat
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import report_rows
from core.key_proofs import Form, check, key_hash, spki_of
from core.problem_reports import Kind
from operations.alarms.reports import ReportWatch
from operations.report_intake import Intake
from repo_static.rendering import base_url
from tests.support.acme_client import ec_key
from tests.support.database import NOW
from tests.support.software_vault import certificate

WORDS = {"kind": "misuse", "description": "It serves a phishing page at www.ca.example."}
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


def private_pem(key: Any) -> str:
    return str(key.private_bytes(PEM, PKCS8, serialization.NoEncryption()).decode())


def public_pem(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(PEM, form).decode())


def only(site: Any) -> Any:
    (number,) = site.spool.waiting()
    return site.spool.read(number)


@pytest.mark.clause("requirements 1.04")
@pytest.mark.clause("BR 4.9.3")
async def test_a_report_is_durable_before_its_number_is_shown(site: Any) -> None:
    answer = await site.post(
        "/report/", WORDS | {"certificates": "0A:0b\nwww.ca.example", "contact": "x@y.z"}
    )
    assert answer.status == 303
    filed = only(site)
    assert (filed.kind, filed.description) == (Kind.MISUSE, WORDS["description"])
    assert (filed.serials, filed.names, filed.contact) == (("0a0b",), ("www.ca.example",), "x@y.z")
    assert filed.received_at == NOW
    path = answer.headers["Location"]
    assert path.startswith(f"/report/{filed.number}/")
    status, text = await site.get(path)
    assert status == 200
    assert filed.number in text
    assert "2026-11-24 00:00 UTC" in text  # the preliminary answer, 24 hours later
    assert "2026-11-28 00:00 UTC" in text  # misuse: five days
    for private in ("phishing", "x@y.z"):
        assert private not in text


@pytest.mark.clause("requirements 1.04")
async def test_it_needs_neither_the_register_nor_the_vault(site: Any) -> None:
    site.house.vault.away = True
    for path in site.house.data.root.glob("ca.sqlite*"):
        path.unlink()
    answer = await site.post("/ja/report/", WORDS)
    assert answer.status == 303
    assert (await site.get(answer.headers["Location"]))[0] == 200
    assert len(site.spool.waiting()) == 1


@pytest.mark.clause("BR 4.9.3")
async def test_it_takes_reports_and_proofs_though_the_clock_stepped_back(site: Any) -> None:
    challenge = await site.challenge()
    site.house.clock.at -= 7200
    proof = {"kind": "key-compromise", "challenge": challenge, "proof": private_pem(ec_key())}
    answer = await site.post("/report/", proof)
    assert answer.status == 303
    assert only(site).received_at == NOW
    assert (await site.get(answer.headers["Location"]))[0] == 200
    assert (await site.get("/report/"))[0] == 200


async def test_a_receipt_is_seen_with_its_whole_link_only(site: Any) -> None:
    path = (await site.post("/report/", WORDS)).headers["Location"]
    number, mark = path.split("/")[2:]
    changed = ("A" if mark[0] != "A" else "B") + mark[1:]
    for wrong in (
        f"/report/{number}/{changed}",
        f"/report/{number}/",
        f"/report/PR-20261123-0000000000/{mark}",
    ):
        assert (await site.get(wrong))[0] == 404


async def test_a_receipt_outlives_a_restart_and_is_alike_for_all_workers(site: Any) -> None:
    from core.randomness import SystemRandomness
    from status.pages import secret

    one, other = (secret.load(site.house.data.status, SystemRandomness()) for _ in range(2))
    assert one.mark("a", "b") == other.mark("a", "b")
    assert one.mark("a", "b") != one.mark("a", "c")


async def test_the_receipt_tells_what_was_done(site: Any) -> None:
    path = (await site.post("/report/", WORDS)).headers["Location"]
    filed = only(site)
    await site.house.database.write(lambda tx: report_rows.insert(tx, filed, actor="a test"))
    site.spool.remove(filed.number)
    await site.house.database.write(
        lambda tx: report_rows.answer(tx, filed.number, "We look <b>into</b> it.")
    )
    status, text = await site.get(path)
    assert status == 200
    assert "We look &lt;b&gt;into&lt;/b&gt; it." in text
    status, text = await site.get(path, Accept="application/json")
    assert json.loads(text)["state"] == "answered"


async def test_what_waits_is_for_its_owner_and_the_apps_group_alone(site: Any) -> None:
    await site.post("/report/", WORDS)
    (path,) = site.house.data.reports.glob("*.json")
    assert stat.S_IMODE(path.stat().st_mode) & 0o037 == 0
    assert stat.S_IMODE(site.house.data.reports.stat().st_mode) & 0o007 == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"description": "x"}, "kind"),
        ({"kind": "misuse"}, "description"),
        ({"kind": "nothing", "description": "x"}, "kind"),
        (WORDS | {"certificates": "what is this?"}, "certificates"),
        (WORDS | {"description": "x" * 10_001}, "description"),
        (WORDS | {"contact": "x" * 321}, "contact"),
        (WORDS | {"proof": "no proof at all!"}, "proof"),
    ],
)
@pytest.mark.parametrize("language", ["", "/ja"])
async def test_a_mistake_is_shown_at_its_field_and_nothing_is_kept(
    site: Any, fields: dict[str, str], field: str, language: str
) -> None:
    answer = await site.post(f"{language}/report/", fields)
    assert answer.status == 422
    text = await answer.text()
    target = "kind-0" if field == "kind" else field
    assert f'<li><a href="#{target}">' in text
    assert f'id="{field}-fault"' in text
    assert 'aria-invalid="true"' in text
    assert site.spool.waiting() == []


async def test_programs_get_and_give_the_same(site: Any) -> None:
    taken = await site.post("/report/", WORDS, Accept="application/json")
    found = await taken.json()
    assert (taken.status, found["state"], found["deadlines"]["answer"]["due"]) == (
        *(201, "received"),
        "2026-11-24T00:00:00Z",
    )
    assert found["url"].endswith(f"/{found['number']}/{found['url'].rpartition('/')[2]}")
    refused = await site.post("/report/", {}, Accept="application/json")
    assert {each["field"] for each in (await refused.json())["faults"]} == {
        "kind",
        "description",
        "certificates",
    }


async def test_a_form_without_files_may_be_urlencoded(site: Any) -> None:
    async with site.client.post(site.url("/report/"), data=WORDS, allow_redirects=False) as answer:
        assert answer.status == 303


@pytest.mark.clause("BR 4.9.12")
@pytest.mark.parametrize("algorithm", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
async def test_a_signed_challenge_is_a_proof(site: Any, algorithm: hashes.HashAlgorithm) -> None:
    key, challenge = ec_key(ec.SECP384R1()), await site.challenge()
    signature = base64.encodebytes(key.sign(challenge.encode(), ec.ECDSA(algorithm))).decode()
    fields = {
        "kind": "key-compromise",
        "certificates": public_pem(key),
        "challenge": challenge,
        "proof": signature,
    }
    assert (await site.post("/report/", fields)).status == 303
    proof = only(site).proof
    assert proof.form is Form.SIGNATURE
    check(proof, base_url(site.house.settings))


@pytest.mark.clause("BR 4.9.12")
@pytest.mark.parametrize("key", [ec_key(), rsa.generate_private_key(65537, 2048)], ids=["ec", "rsa"])
async def test_a_private_key_leaves_only_a_signature(
    site: Any, key: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pem = private_pem(key)
    fields = {"kind": "key-compromise", "proof": pem}  # no challenge: its sender signs nothing
    assert (await site.post("/report/", fields)).status == 303
    filed = only(site)
    assert filed.proof.form is Form.KEY
    check(filed.proof, base_url(site.house.settings))
    (path,) = site.house.data.reports.glob("*.json")
    secret = pem.splitlines()[1]
    for where in (path.read_text(), caplog.text, base64.b64encode(filed.proof.signed).decode()):
        assert secret not in where


@pytest.mark.clause("BR 4.9.12")
async def test_with_a_proof_go_the_certificates_that_have_its_key_and_no_others(site: Any) -> None:
    end = NOW + 86400
    made = [certificate("It", None, "ec", end, number, ca=False, ocsp_signing=False) for number in (1, 2)]
    other = certificate("Another", None, "ec", end, 3, ca=False, ocsp_signing=False)
    named = b"".join(each.certificate.public_bytes(PEM) for each in (*made, other, made[0])).decode()
    fields = {"kind": "key-compromise", "certificates": named}
    assert (await site.post("/report/", fields | {"proof": private_pem(made[0].key)})).status == 303
    found = [x509.load_der_x509_certificate(each).serial_number for each in only(site).certified]
    assert found == [1, 2]
    site.spool.remove(only(site).number)
    assert (await site.post("/report/", fields | {"description": "no proof"})).status == 303
    assert only(site).certified == ()


@pytest.mark.clause("BR 4.9.12")
async def test_a_private_key_in_another_field_is_neither_kept_nor_shown_again(site: Any) -> None:
    pem = private_pem(ec_key())
    cut = pem.rpartition("-----END")[0]
    for fields in ({"description": pem, "certificates": pem}, {"certificates": cut}, {"contact": pem[:300]}):
        answer = await site.post("/report/", WORDS | fields)
        assert answer.status == 422
        assert pem.splitlines()[1] not in await answer.text()
    answer = await site.post("/report/", WORDS, {"certificate_file": cut.encode()})
    assert answer.status == 422
    assert pem.splitlines()[1] not in await answer.text()
    assert site.spool.waiting() == []


@pytest.mark.clause("BR 4.9.12")
async def test_a_wrong_proof_is_no_proof_and_is_not_shown_again(site: Any) -> None:
    key, other, challenge = ec_key(), ec_key(), await site.challenge()
    signature = base64.b64encode(other.sign(challenge.encode(), ec.ECDSA(hashes.SHA256()))).decode()
    fields = {
        "kind": "key-compromise",
        "certificates": public_pem(key),
        "challenge": challenge,
        "proof": signature,
    }
    answer = await site.post("/report/", fields)
    assert answer.status == 422
    assert signature not in await answer.text()
    assert site.spool.waiting() == []


@pytest.mark.clause("BR 4.9.12")
async def test_a_challenge_is_good_for_a_day_and_no_longer(site: Any) -> None:
    key, challenge = ec_key(), await site.challenge()
    signature = base64.b64encode(key.sign(challenge.encode(), ec.ECDSA(hashes.SHA256()))).decode()
    fields = {
        "kind": "key-compromise",
        "certificates": public_pem(key),
        "challenge": challenge,
        "proof": signature,
    }
    site.house.clock.at += 86400
    assert (await site.post("/report/", fields)).status == 303
    site.house.clock.at += 1
    assert (await site.post("/report/", fields)).status == 422
    assert (await site.post("/report/", fields | {"challenge": challenge[:-1] + "~"})).status == 422


async def test_a_signature_without_its_challenge_is_told_what_is_missing(site: Any) -> None:
    fields = {"kind": "key-compromise", "certificates": public_pem(ec_key()), "proof": "AAAA"}
    answer = await site.post("/report/", fields)
    assert answer.status == 422
    assert "without the challenge that was signed" in await answer.text()
    assert site.spool.waiting() == []


@pytest.mark.clause("BR 4.9.12")
async def test_a_private_key_is_taken_with_whatever_challenge_comes_with_it(site: Any) -> None:
    fields = {"kind": "key-compromise", "proof": private_pem(ec_key()), "challenge": await site.challenge()}
    site.house.clock.at += 2 * 86400
    assert (await site.post("/report/", fields)).status == 303
    check(only(site).proof, base_url(site.house.settings))


async def test_a_full_spool_says_so_and_names_the_contact(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for at in range(1000):
        (site.house.data.reports / f"PR-20261123-{at:010}.json").touch()
    answer = await site.post("/report/", WORDS)
    assert answer.status == 503
    assert "mailto:pki@ca.example" in await answer.text()
    assert answer.headers["Retry-After"]
    assert len(site.spool.waiting()) == 1000


async def test_a_body_that_is_too_large_is_refused(site: Any) -> None:
    answer = await site.post("/report/", WORDS, {"proof_file": bytes(70_000)})
    assert answer.status == 413
    assert site.spool.waiting() == []


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "multipart/form-data; boundary=x"])
async def test_a_body_that_is_no_form_is_refused(site: Any, kind: str) -> None:
    async with site.client.post(site.url("/report/"), data=b"{}", headers={"Content-Type": kind}) as answer:
        assert answer.status in (400, 415)
    assert site.spool.waiting() == []


async def test_a_body_of_unknown_length_is_refused(site: Any) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"kind=misuse&"

    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with site.client.post(site.url("/report/"), data=endless(), headers=headers) as answer:
        assert answer.status == 411
    assert site.spool.waiting() == []


async def test_a_form_of_another_site_is_refused(site: Any) -> None:
    for elsewhere in ("cross-site", "same-site"):
        answer = await site.post("/report/", WORDS, **{"Sec-Fetch-Site": elsewhere})
        assert answer.status == 403
    assert site.spool.waiting() == []


async def test_one_address_may_not_fill_the_spool(site: Any) -> None:
    from dataclasses import replace

    from core.forwarded import Addresses
    from core.settings import Acme
    from status.pages.bounds import Act, Bounds

    bounds = Bounds(Addresses(replace(Acme(), trusted_proxies=("127.0.0.1/32",))), site.house.clock)

    class Request:
        remote = "127.0.0.1"

        def __init__(self, address: str) -> None:
            self.headers = Headers({"X-Forwarded-For": address})

    class Headers(dict[str, str]):
        def getall(self, key: str, default: list[str]) -> list[str]:
            return [self[key]]

    waits = [await bounds.wait(Request("2001:db8::1"), Act.REPORT) for _ in range(31)]  # type: ignore[arg-type]
    assert not any(waits[:30])
    assert waits[30] > 0
    assert await bounds.wait(Request("2001:db8::2"), Act.REPORT) > 0  # type: ignore[arg-type]
    assert await bounds.wait(Request("2001:db8:1::1"), Act.REPORT) == 0  # type: ignore[arg-type]
    # Nor all of the networks that one site has.
    of_a_site = [Request(f"2001:db8:2:{number:x}::1") for number in range(200)]
    waits = [await bounds.wait(each, Act.REPORT) for each in of_a_site]  # type: ignore[arg-type]
    assert waits.count(0) == 4 * 30
    assert await bounds.wait(Request("2001:db8:1::1"), Act.REPORT) == 0  # type: ignore[arg-type]


HOSTILE = st.text(max_size=60) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        '"><img src=x>',
        "a\r\nSet-Cookie: x=1",
        "{{ 7*7 }}",
        "</textarea><b>",
        "\0",
    ]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fields=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("kind", "description", "certificates", "contact", "proof", "challenge"), HOSTILE
        ),
    )
)
async def test_nothing_that_a_stranger_writes_becomes_markup_or_a_header(
    site: Any, fields: dict[str, str]
) -> None:
    answer = await site.post("/report/", fields)
    assert answer.status in (303, 422, 429)
    assert "Set-Cookie" not in answer.headers
    assert answer.headers.get("Location", "/report/PR-").startswith("/report/PR-")
    text = await answer.text()
    assert 'value="49"' not in text
    for markup in ("<script", "<img", "<b>"):
        assert markup not in text


@pytest.mark.clause("BR 4.9.12")
@pytest.mark.clause("BR 4.9.5")
async def test_a_proof_on_the_page_ends_as_revoked_in_ocsp_by_no_persons_hand(site: Any) -> None:
    house, key = site.house, ec_key()
    serial = await house.issue()
    spki_sha256 = bytes.fromhex(key_hash(spki_of(key.public_key())))
    await house.database.write(
        lambda tx: tx.execute(
            "UPDATE certificates SET spki_sha256 = ? WHERE serial = ?", (spki_sha256, serial)
        )
    )
    assert (await house.ask(serial)).certificate_status is ocsp.OCSPCertStatus.GOOD
    fields = {"kind": "key-compromise", "challenge": await site.challenge(), "proof": private_pem(key)}
    receipt = (await site.post("/report/", fields)).headers["Location"]
    ca = base_url(house.settings)
    await Intake(house.data.reports, house.database, ca, lambda: None, lambda: None).look()
    answer = await house.ask(serial)
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert answer.revocation_reason is x509.ReasonFlags.key_compromise
    await house.updater().update()
    await ReportWatch(house.database, house.clock).look()
    found = json.loads((await site.get(receipt, Accept="application/json"))[1])
    assert (found["state"], found["cause"]) == ("decided", "key-compromise")
    assert found["revoked_at"] == "2026-11-23T00:00:00Z"
