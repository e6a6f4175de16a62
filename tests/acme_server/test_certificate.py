"""acme_server/handlers/certificate.py: a certificate with its default and its alternate chains."""

from __future__ import annotations

import pytest

from tests.support.acme_client import AcmeClient
from tests.support.acme_front import ISSUER, Front

CROSS = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
OTHER = b"-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n"


async def url_of_a_certificate(front: Front, subscriber: AcmeClient) -> str:
    front.perspectives.pass_names.add("www.example.com")
    order, _ = await front.issued(subscriber, "www.example.com")
    return str(order.body["certificate"])


@pytest.mark.clause("RFC 8555 section 7.4.2")
@pytest.mark.must("rfc8555.7.4.2.alternate")
async def test_every_chain_has_its_own_url_and_links_to_the_others(
    front: Front, subscriber: AcmeClient
) -> None:
    url = await url_of_a_certificate(front, subscriber)
    default = front.context.chains[ISSUER][0]
    front.context.chains[ISSUER] = [default, default + CROSS, OTHER]  # type: ignore[index]
    plain = await subscriber.post(url)
    leaf = plain.octets.removesuffix(default)
    assert plain.links("alternate") == [f"{url}/1", f"{url}/2"]
    for number, chain in ((1, default + CROSS), (2, OTHER)):
        answer = await subscriber.post(f"{url}/{number}")
        assert answer.octets == leaf + chain
        assert answer.headers["Content-Type"] == "application/pem-certificate-chain"
        assert answer.links("alternate") == [url, f"{url}/{3 - number}"]


async def test_an_issuer_with_one_chain_offers_no_alternate(front: Front, subscriber: AcmeClient) -> None:
    url = await url_of_a_certificate(front, subscriber)
    assert (await subscriber.post(url)).links("alternate") == []
    for number in (0, 1, 9, 10):
        assert (await subscriber.post(f"{url}/{number}")).status == 404


async def test_an_alternate_chain_is_for_the_owner_only(front: Front, subscriber: AcmeClient) -> None:
    url = await url_of_a_certificate(front, subscriber)
    front.context.chains[ISSUER] = [*front.context.chains[ISSUER], OTHER]  # type: ignore[index]
    stranger = await front.subscriber()
    assert (await stranger.post(f"{url}/1")).status in (403, 404)
