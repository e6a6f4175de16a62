"""Whoever reads Japanese pages reads Japanese: also what is refused, and why."""

from __future__ import annotations

import ast
import base64
import html
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import NameOID

import status.pages
from core import key_proofs
from repo_static import publisher
from repo_static.rendering import CONTENT
from repo_static.store import Store
from tests.support import acme_client
from tests.support.acme_client import ec_key

PAGES = Path(status.pages.__file__).parent
SENTENCE = re.compile(r"[A-Za-z]+(?: [a-z]+){2,}")
"""Three English words and more; names, commands and RFC words are shorter, or in <pre>."""

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
PKCS8 = serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()
KEY = ec_key()
CERTIFICATES = KEY.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def csr(name: str, key: Any = KEY, algorithm: Any = None) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return made.sign(key, algorithm or hashes.SHA256()).public_bytes(PEM).decode()


def pem(key: Any, encryption: Any = PLAIN) -> str:
    return str(key.private_bytes(PEM, PKCS8, encryption).decode())


def turned(text: str) -> str:
    """A CSR whose signature is another's."""
    der = bytearray(x509.load_pem_x509_csr(text.encode()).public_bytes(DER))
    der[-1] ^= 1
    return base64.b64encode(der).decode()


def flattened(challenge: str, **changed: Any) -> str:
    """A flattened JWS of KEY."""
    header = {"alg": "ES256", "jwk": acme_client.jwk(KEY)} | changed
    return json.dumps(acme_client.sign(KEY, header, challenge.encode()))


def proofs(challenge: str) -> Iterator[tuple[str, str]]:
    """(word, what is sent as proof) for all that a stranger can bring about."""
    good = csr(key_proofs.TITLE)
    yield "no-form", "no proof at all!"
    yield "csr-unreadable", good.replace("MI", "MA", 1)
    yield "csr-name", csr("www.ca.example")
    yield "csr-signature", turned(good)
    yield "csr-size", base64.b64encode(b"\x30" + bytes(20_000)).decode()
    yield "key-kind", csr(key_proofs.TITLE, rsa.generate_private_key(65537, 1024))
    yield "key-kind", pem(ed25519.Ed25519PrivateKey.generate())
    yield "private-encrypted", pem(KEY, serialization.BestAvailableEncryption(b"secret"))
    yield "private-unreadable", pem(KEY).replace("MI", "MA", 1)
    yield "private-size", pem(KEY) + "x" * 5000
    yield "signature-of-none", "AAAA"
    yield "challenge", flattened("nothing of ours")
    yield "jws-form", '{"protected": 1}'
    yield "jws-form", "eyJ.x"
    yield "jws-form", "{no JSON"
    yield "jws-size", "eyJ" + "A" * 20_000
    yield "jws-header", flattened(challenge, jwk=None)
    yield "jws-private", flattened(challenge, jwk={"kty": "EC", "d": "AA"})
    yield "jws-key", flattened(challenge, jwk={"kty": "EC"})
    yield "jws-signature", flattened(challenge, alg="ES512")


def read(page: str) -> str:
    """What a person reads of a page, but for commands and what he typed himself."""
    page = re.sub(r"<(pre|textarea|title|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", "\n", page))


def written(path: Path) -> set[str]:
    """The words of all `NoProof`s in a module."""
    calls = (each for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.Call))
    made = [each for each in calls if isinstance(each.func, ast.Name) and each.func.id == "NoProof"]
    return {str(ast.literal_eval(each.args[0])) for each in made}


def leaves(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def words_of(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    found = tomllib.loads(path.read_text())
    return dict(leaves(found["en"])), dict(leaves(found["ja"]))


@pytest.mark.parametrize("path", [PAGES / "content" / "words.toml", CONTENT / "words.toml"])
def test_what_one_language_says_the_other_says(path: Path) -> None:
    english, japanese = words_of(path)
    alone = {name for name in english.keys() ^ japanese.keys() if not name.startswith("reporting.proofs.")}
    assert alone == set()
    assert {name: said for name, said in japanese.items() if SENTENCE.search(said)} == {}


def test_every_reason_why_a_proof_is_none_has_its_japanese() -> None:
    said = {
        name.removeprefix("reporting.proofs.")
        for name in words_of(PAGES / "content" / "words.toml")[1]
        if name.startswith("reporting.proofs.")
    }
    modules = (Path(key_proofs.__file__), PAGES / "evidence.py", PAGES / "challenge.py")
    assert set().union(*map(written, modules)) == said


async def test_no_refused_report_shows_an_english_sentence_on_a_japanese_page(site: Any) -> None:
    challenge = await site.challenge()
    japanese = words_of(PAGES / "content" / "words.toml")[1]
    for word, proof in proofs(challenge):
        fields = {"kind": "other", "certificates": CERTIFICATES, "challenge": challenge, "proof": proof}
        answer = await site.post("/ja/report/", fields)
        assert answer.status == 422, word
        text = read(await answer.text())
        assert japanese[f"reporting.proofs.{word}"] in text
        assert SENTENCE.findall(text) == []
    wrong = [
        ({"kind": "other", "proof": "AAAA", "challenge": challenge}, None),
        ({"kind": "other", "proof": "AAAA", "certificates": CERTIFICATES}, None),
        ({"certificates": "what?"}, {"certificate_file": b"\xff\xfe"}),
        ({"description": pem(KEY), "certificates": "\n".join(f"{n}.example" for n in range(100))}, None),
        ({"description": "x" * 20_000, "contact": "x" * 400}, None),
    ]
    for fields, files in wrong:
        text = read(await (await site.post("/ja/report/", fields, files)).text())
        assert SENTENCE.findall(text) == []
    site.house.clock.at += 90_000
    fields = {"kind": "other", "certificates": CERTIFICATES, "challenge": challenge, "proof": "AAAA"}
    text = read(await (await site.post("/ja/report/", fields)).text())
    assert japanese["reporting.proofs.challenge-over"] in text
    assert site.spool.waiting() == []


async def test_no_other_page_shows_one_either(site: Any) -> None:
    house = site.house
    publisher.publish(Store(house.data.repository), house.vault.description(), house.settings)
    good, bad = await house.issue(), await house.issue()
    await house.revoke(bad, 1)
    await house.updater().update()
    pages = []
    for path in ("/", "/report/", "/report/PR-20261123-0000000000/x", "/status/", "/status/?serial=what"):
        pages.append((await site.get(f"/ja{path}"))[1])
    for serial in (good.hex(), bad.hex(), "0badc0de"):
        pages.append((await site.get(f"/ja/status/?serial={serial}"))[1])
    leaf = house.vault.leaf("ec1", good).decode()
    for path, text, file in (
        ("status", leaf, b""),
        ("status", "", b"\xff"),
        ("status", "", bytes(70_000)),
        ("report", "", bytes(70_000)),
    ):
        answer = await site.post(f"/ja/{path}/", {"certificate": text}, {"file": file})
        pages.append(await answer.text())
    elsewhere = await site.post("/ja/report/", {"kind": "misuse"}, **{"Sec-Fetch-Site": "cross-site"})
    pages.append(await elsewhere.text())
    receipt = await site.post("/ja/report/", {"kind": "misuse", "description": "悪用"})
    pages.append((await site.get(receipt.headers["Location"]))[1])
    for page in pages:
        assert '<html lang="ja">' in page
        assert SENTENCE.findall(read(page)) == [], page
