"""operations/watch/scope.py: only what the pinned trust anchor signed is believed."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from operations.watch.finding import State
from tests.operations.watch.conftest import Watching
from tests.operations.watch.expected import one
from tests.support.paper_ca import DAY, Authority, Page, PaperCa, at


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
