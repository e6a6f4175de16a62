from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core import audit, issuers
from core.database import Database
from core.errors import CaError
from core.issuers import Issuer

ISSUER = Issuer("r1", "issuing", "rsa-2048", b"der", b"pem", 2)


async def test_an_issuer_is_added_once(database: Database) -> None:
    before = audit.head(database.reader).sequence
    for _ in range(2):
        await database.write(lambda tx: issuers.put_issuer(tx, ISSUER))
    assert issuers.issuers(database.reader) == [ISSUER]
    assert issuers.issuer_by_id(database.reader, "r1") == ISSUER
    assert issuers.issuer_by_id(database.reader, "x") is None
    assert audit.head(database.reader).sequence == before + 1


async def test_shards_may_be_added(database: Database) -> None:
    await database.write(lambda tx: issuers.put_issuer(tx, ISSUER))
    await database.write(lambda tx: issuers.put_issuer(tx, replace(ISSUER, crl_shards=4)))
    assert issuers.issuers(database.reader)[0].crl_shards == 4


@pytest.mark.parametrize("change", [{"crl_shards": 1}, {"certificate": b"other"}, {"use": "local-service"}])
async def test_what_certificates_rely_on_cannot_be_changed(
    database: Database, change: dict[str, object]
) -> None:
    await database.write(lambda tx: issuers.put_issuer(tx, ISSUER))
    before = audit.head(database.reader)
    with pytest.raises(CaError, match="r1"):
        await database.write(lambda tx: issuers.put_issuer(tx, replace(ISSUER, **change)))
    assert issuers.issuers(database.reader) == [ISSUER]
    assert audit.head(database.reader) == before


@pytest.mark.clause("RFC 9773 section 4.1")
@pytest.mark.parametrize("own", [b"\x01\x02", None], ids=["of its own choosing", "by its key"])
def test_the_key_id_of_an_issuer_is_the_one_in_its_certificate(own: bytes | None) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    by_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    extension = by_key if own is None else x509.SubjectKeyIdentifier(own)
    at = datetime(2026, 11, 30, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, at, at)
    der = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    assert issuers.key_id(der) == b""
    builder = builder.add_extension(extension, critical=False)
    der = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    assert issuers.key_id(der) == extension.digest
