"""acme_server/registration/profiles.py: a profile is advertised, chosen, shown and kept, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.errors import Refused
from core.settings import Profile, Rules, Settings, shipped_profiles
from tests.core.test_today import public
from tests.support.acme_client import AcmeClient, b64, csr, ec_key
from tests.support.acme_front import Front, running

NAME, ADDRESS = "www.example.com", "9.9.9.9"
DAY = 86400


def identifiers(*names: str) -> list[dict[str, str]]:
    return [{"type": "ip" if name == ADDRESS else "dns", "value": name} for name in names]


def order(*names: str, **members: Any) -> dict[str, Any]:
    return {"identifiers": identifiers(*names), **members}


def with_profiles(profiles: Mapping[str, Profile]) -> Any:
    return lambda settings: replace(settings, profiles=dict(profiles))


@pytest.mark.clause("draft-ietf-acme-profiles-00 section 3")
@pytest.mark.must("profiles.3.meta")
async def test_the_directory_names_every_profile_with_a_description(front: Front) -> None:
    directory = (await front.client().get("/directory")).body
    assert directory["meta"]["profiles"] == {
        "tlsserver": "TLS server certificates for DNS names, valid for 90 days",
        "shortlived": "TLS server certificates for DNS names and IP addresses, valid for 6 days,"
        " without OCSP and CRL",
        "ip": "TLS server certificates for DNS names and IP addresses, valid for 6 days",
    }


@pytest.mark.clause("draft-ietf-acme-profiles-00 section 3")
async def test_an_operator_describes_a_profile_in_words_of_his_own(tmp_path: Path) -> None:
    described = {
        "a": Profile(description="https://ca.example/profiles#a"),
        "b": Profile(client_auth=True, validity=3601, crl=False),
    }
    async with running(tmp_path, with_profiles(described)) as front:
        assert (await front.client().get("/directory")).body["meta"]["profiles"] == {
            "a": "https://ca.example/profiles#a",
            "b": "TLS server and client certificates for DNS names, valid for 3601 seconds, without CRL",
        }


@pytest.mark.clause("draft-ietf-acme-profiles-00 section 4")
@pytest.mark.must("profiles.4.shown")
@pytest.mark.parametrize("named", ["tlsserver", "shortlived", "ip"])
async def test_an_order_has_the_profile_that_it_names_and_shows_it(
    front: Front, subscriber: AcmeClient, named: str
) -> None:
    made = await subscriber.post("/acme/new-order", order(NAME, profile=named))
    assert (made.status, made.body["profile"]) == (201, named)
    assert (await subscriber.post(made.headers["Location"])).body["profile"] == named


@pytest.mark.clause("draft-ietf-acme-profiles-00 section 4")
@pytest.mark.must("profiles.4.default")
@pytest.mark.clause("RFC 8738 section 3")
@pytest.mark.parametrize(
    ("names", "profile"),
    [((NAME,), "tlsserver"), ((ADDRESS,), "ip"), ((NAME, ADDRESS), "ip")],
)
async def test_an_order_that_names_none_has_the_first_profile_for_its_identifiers(
    front: Front, subscriber: AcmeClient, names: tuple[str, ...], profile: str
) -> None:
    made = await subscriber.post("/acme/new-order", order(*names))
    assert (made.status, made.body["profile"]) == (201, profile)


@pytest.mark.clause("draft-ietf-acme-profiles-00 section 4")
@pytest.mark.must("profiles.4.unknown", "profiles.4.unfit")
@pytest.mark.clause("draft-ietf-acme-profiles-00 section 6.3")
@pytest.mark.parametrize(
    ("payload", "kind", "detail"),
    [
        (order(NAME, profile="nosuch"), "invalidProfile", "one of these: tlsserver, ip, shortlived"),
        (order(NAME, profile="TLSServer"), "invalidProfile", "one of these"),
        (order(NAME, profile=""), "invalidProfile", "one of these"),
        (order(NAME, profile="local-service"), "invalidProfile", "one of these"),
        (order(NAME, profile=7), "malformed", "profile must be there and be a string"),
        (order(NAME, profile=None), "malformed", "profile must be there and be a string"),
        (
            order(NAME, ADDRESS, profile="tlsserver"),
            "invalidProfile",
            "'tlsserver' certifies no IP addresses, and 9.9.9.9 is one; these do: ip, shortlived",
        ),
    ],
)
async def test_a_profile_that_is_unknown_or_does_not_fit_is_refused_and_nothing_changes(
    front: Front, subscriber: AcmeClient, payload: Any, kind: str, detail: str
) -> None:
    before = front.counts()
    answer = await subscriber.post("/acme/new-order", payload)
    assert (answer.status, answer.problem) == (400, kind)
    assert detail in answer.body["detail"]
    assert front.counts() == before


@pytest.mark.clause("RFC 8555 section 7.4")
@pytest.mark.parametrize(
    ("kinds", "names", "problem", "detail"),
    [
        (("dns",), (ADDRESS,), "unsupportedIdentifier", "IP addresses are not certified here"),
        (("ip",), (NAME,), "unsupportedIdentifier", "DNS names are not certified here"),
    ],
)
async def test_a_type_that_no_profile_certifies_is_unsupported(
    tmp_path: Path, kinds: tuple[str, ...], names: tuple[str, ...], problem: str, detail: str
) -> None:
    async with running(tmp_path, with_profiles({"only": Profile(identifiers=kinds)})) as front:
        client = await front.subscriber()
        before = front.counts()
        answer = await client.post("/acme/new-order", order(*names))
        assert (answer.status, answer.problem, answer.body["detail"]) == (400, problem, detail)
        assert front.counts() == before


async def test_names_and_addresses_that_no_profile_holds_together_are_to_be_ordered_apart(
    tmp_path: Path,
) -> None:
    profiles = {"names": Profile(), "addresses": Profile(identifiers=("ip",))}
    async with running(tmp_path, with_profiles(profiles)) as front:
        client = await front.subscriber()
        answer = await client.post("/acme/new-order", order(NAME, ADDRESS))
        assert (answer.status, answer.problem) == (400, "malformed")
        assert "an order for each kind" in answer.body["detail"]


async def _finalize(front: Front, client: AcmeClient, made: Any) -> Any:
    return await client.post(made.body["finalize"], {"csr": b64(csr(ec_key(), [NAME]))})


@pytest.mark.clause("draft-ietf-acme-profiles-00 section 4")
@pytest.mark.must("profiles.4.withdrawn")
async def test_finalize_under_a_profile_that_was_withdrawn_is_refused_and_the_order_stays_ready(
    tmp_path: Path,
) -> None:
    key, url = ec_key(), ""
    async with running(tmp_path) as front:
        client = await front.subscriber(key)
        made = await front.authorized(client, NAME)
        url = made.headers["Location"]
    less = {name: each for name, each in shipped_profiles().items() if name != "tlsserver"}
    async with running(tmp_path, with_profiles(less)) as front:
        client = await front.subscriber(key)
        made = await client.post(url)
        before = front.counts()
        answer = await _finalize(front, client, made)
        assert (answer.status, answer.problem) == (400, "invalidProfile")
        assert "'tlsserver' is not offered; place a new order" in answer.body["detail"]
        assert front.counts() == before
        assert ((await client.post(url)).body["status"], made.body["profile"]) == ("ready", "tlsserver")


@pytest.mark.clause("draft-ietf-acme-profiles-00 section 4")
async def test_an_order_whose_profile_is_withdrawn_while_it_is_processing_ends_with_invalid_profile(
    tmp_path: Path,
) -> None:
    key, url = ec_key(), ""
    async with running(tmp_path) as front:
        client = await front.subscriber(key)
        made = await front.authorized(client, NAME)
        url = made.headers["Location"]
        await _finalize(front, client, made)
    async with running(tmp_path, with_profiles({"ip": Profile(identifiers=("ip",))})) as front:
        client = await front.subscriber(key)
        await front.run_jobs()
        ended = (await client.post(url)).body
        assert ended["status"] == "invalid"
        assert ended["error"]["type"] == "urn:ietf:params:acme:error:invalidProfile"
        assert front.issuance.approved == []


@pytest.mark.clause("draft-ietf-acme-profiles-00 section 4")
async def test_a_vault_without_the_profile_ends_the_order_with_invalid_profile(
    front: Front, subscriber: AcmeClient
) -> None:
    made = await front.authorized(subscriber, NAME)
    front.issuance.fault = Refused("profile.unknown", "the vault knows no profile 'tlsserver'")
    await _finalize(front, subscriber, made)
    await front.run_jobs()
    ended = (await subscriber.post(made.headers["Location"])).body
    assert (ended["status"], ended["error"]["type"][-14:]) == ("invalid", "invalidProfile")


@pytest.mark.clause("draft-ietf-acme-profiles-00 section 4")
@pytest.mark.clause("BR 6.3.2")
async def test_a_rule_of_the_day_ends_one_profile_and_leaves_the_others(tmp_path: Path) -> None:
    begins = int(datetime(2027, 3, 15, tzinfo=UTC).timestamp())

    def change(settings: Settings) -> Settings:
        rules = public(6, validity=100 * DAY)
        profiles = {"long": Profile(validity=199 * DAY), **rules.profiles}
        return replace(rules, acme=settings.acme, profiles=profiles)

    async with running(tmp_path, change) as front:
        assert front.context.settings.ca.rules is Rules.PUBLIC
        client = await front.subscriber()
        front.clock.at = begins - DAY
        made = await front.authorized(client, NAME)
        assert made.body["profile"] == "long"
        front.clock.at = begins - 1
        assert (await client.post("/acme/new-order", order(NAME, profile="long"))).status == 201

        front.clock.at = begins
        before = front.counts()
        for answer in (
            await client.post("/acme/new-order", order(NAME, profile="long")),
            await _finalize(front, client, made),
        ):
            assert (answer.status, answer.problem) == (400, "invalidProfile")
            assert "one of these: tlsserver" in answer.body["detail"]
        assert front.counts() == before
        assert (await client.post("/acme/new-order", order(NAME))).body["profile"] == "tlsserver"
        front.perspectives.pass_names.add("b.example.com")
        other, _ = await front.issued(client, "b.example.com")
        assert (other.body["status"], other.body["profile"]) == ("valid", "tlsserver")


@pytest.mark.clause("draft-ietf-acme-profiles-00 section 4")
@pytest.mark.must("profiles.4.outlived")
async def test_a_profile_that_is_no_longer_offered_serves_the_orders_that_have_it(tmp_path: Path) -> None:
    key, url = ec_key(), ""
    async with running(tmp_path) as front:
        made = await front.authorized(await front.subscriber(key), NAME)
        url = made.headers["Location"]
    retired = {**shipped_profiles(), "tlsserver": Profile(offered=False)}
    async with running(tmp_path, with_profiles(retired)) as front:
        client = await front.subscriber(key)
        assert list((await client.get("/directory")).body["meta"]["profiles"]) == ["ip", "shortlived"]
        refused = await client.post("/acme/new-order", order(NAME, profile="tlsserver"))
        assert (refused.status, refused.problem) == (400, "invalidProfile")
        assert (await client.post("/acme/new-order", order(NAME))).body["profile"] == "ip"
        accepted = await _finalize(front, client, made)
        assert accepted.status == 200, accepted.body
        await front.run_jobs()
        ended = (await client.post(url)).body
        assert (ended["status"], ended["profile"]) == ("valid", "tlsserver")
