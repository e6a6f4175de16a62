"""status/ocsp/index/records.py: an answer is put together as it was signed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from signer.api import OcspRequest
from status.ocsp.index.records import Frame, taken_apart, together
from tests.support.database import NOW
from tests.support.software_vault import SoftwareVault

STATUSES = [(None, None), (NOW - 9, None), *((NOW - 9, reason) for reason in (1, 3, 4, 5, 9))]


@pytest.fixture(scope="module")
def vault() -> SoftwareVault:
    return SoftwareVault()


@pytest.mark.clause("RFC 6960 section 4.2.1")
@pytest.mark.parametrize("issuer_id", ["ec1", "rsa1"])
@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
async def test_every_kind_of_answer_is_put_together_as_it_was_signed(
    vault: SoftwareVault, issuer_id: str, hash_name: str
) -> None:
    seen: list[Frame] = []
    for serial in (b"\x05", b"\x01" * 17, b"\x7f" * 20):
        for number, (revoked_at, reason) in enumerate(STATUSES):
            request = OcspRequest(
                issuer_id, serial, hash_name, NOW + number, NOW + 999 + number, revoked_at, reason
            )
            signed = await vault.sign_ocsp(request)
            frame, record = taken_apart(signed.der, request, 0, seen[0] if seen else None)
            assert together(frame, record) == signed.der
            seen.append(frame)
    assert len({*seen}) == 1


async def test_octets_that_look_like_a_form_stay_what_they_are(vault: SoftwareVault) -> None:
    request = OcspRequest("ec1", b"\x05", "sha1", NOW, NOW + 999, None, None)
    frame, record = taken_apart((await vault.sign_ocsp(request)).der, request, 0)
    odd = replace(frame, certificates=b"%b%%%d%", responder_id=b"100 %")
    signed = record._replace(signature=b"%b" * 35)
    octets = together(odd, signed)
    assert octets.endswith(b"%b" * 35 + b"%b%%%d%")
    assert octets.count(b"100 %") == 1
