"""The canary with orders that come to an end as a test tells them to."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from core.clock import SystemClock
from core.errors import TransientError
from operations.subscriber.order import Orders, PrivateKey, Wish
from operations.watch.checks import canary
from operations.watch.finding import Wrong
from operations.watch.scope import Issuer, Scope
from operations.watch.signed import Manifest
from tests.operations.watch.conftest import Watching
from tests.support.paper_ca import DAY, HOUR, Authority, PaperCa

NAME = "canary.test.example"
OTHER = ec.generate_private_key(ec.SECP256R1())


class Printed:
    """Orders that bring what `make` makes of the key."""

    def __init__(self, ca: PaperCa, make: Callable[[ec.EllipticCurvePrivateKey], bytes]) -> None:
        self._make = make
        self.scope = Scope(
            *(ca.url, ca.root.certificate, (Issuer("ec-1", ca.issuer.certificate, ()),), "", "", (), ()),
            Manifest(b"", {}, ()),
        )

    async def obtain(self, wish: Wish, key: PrivateKey) -> str:
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return self._make(key).decode()


def leaf(
    ca: PaperCa,
    key: ec.EllipticCurvePrivateKey,
    *,
    name: str = NAME,
    begins: int = -HOUR,
    ends: int = 90 * DAY,
    by: Authority | None = None,
) -> bytes:
    made = (by or ca.issuer).leaf(name, ca.now + begins, ca.now + ends, key)
    return made.public_bytes(Encoding.PEM) + ca.issuer.pem


async def issue(watching: Watching, make: Callable[..., bytes], scts: int = 0) -> canary.Issued:
    printed = Printed(watching.ca, lambda key: make(watching.ca, key))
    return await canary.issue(cast(Orders, printed), printed.scope, NAME, scts, watching.ca.now)


async def test_a_certificate_that_is_right_is_found_right(watching: Watching) -> None:
    assert (await issue(watching, leaf)).issuer.id == "ec-1"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda ca, key: leaf(ca, key, name="other.example"), "has other names"),
        (lambda ca, key: leaf(ca, OTHER), "another key than its CSR"),
        (lambda ca, key: leaf(ca, key, ends=201 * DAY), "is valid from"),
        (lambda ca, key: leaf(ca, key, begins=-3 * DAY), "is valid from"),
        (lambda ca, key: leaf(ca, key, begins=HOUR), "is valid from"),
        (lambda ca, key: leaf(ca, key, by=ca.stranger), "signed by none of the published issuers"),
        (lambda ca, key: b"no chain", "cannot be read"),
    ],
    ids=["names", "key", "long", "backdated", "future", "issuer", "junk"],
)
async def test_a_certificate_that_is_wrong_is_told(
    watching: Watching, make: Callable[..., bytes], words: str
) -> None:
    with pytest.raises(Wrong) as wrong:
        await issue(watching, make)
    assert words in wrong.value.seen
    assert wrong.value.remedy


@pytest.mark.clause("requirements 2.89")
async def test_a_certificate_without_the_scts_that_browsers_ask_for_is_told(watching: Watching) -> None:
    with pytest.raises(Wrong, match="has no signedCertificateTimestampList"):
        await issue(watching, leaf, scts=2)


async def test_an_order_that_fails_is_told_in_the_servers_words(watching: Watching) -> None:
    def refused(ca: PaperCa, key: object) -> bytes:
        raise TransientError("newOrder: rateLimited: come again tomorrow")

    with pytest.raises(Wrong, match="come again tomorrow"):
        await issue(watching, refused)


@pytest.mark.clause("BR 4.9.10")
async def test_a_revocation_that_does_not_become_public_in_time_is_told(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "LOOK_AGAIN", 0.02)

    async def never() -> bool:
        return False

    with pytest.raises(Wrong, match="OCSP says revoked: not within 0 s"):
        await canary.becomes("OCSP says revoked", never, 0.1, SystemClock())
