"""The keeper with a CA of a few lines and a clock that is turned by hand."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from multidict import CIMultiDict, CIMultiDictProxy

from core.clock import FakeClock
from core.errors import TransientError
from core.randomness import SystemRandomness
from core.settings import SiteSettings
from core.sites import Site, SiteStatus
from operations.sites.keeper import EXPIRED_FOR, VALID_FOR, Keeper
from operations.sites.shelf import NEXT, SHOWN, Shelf
from operations.subscriber.client import AcmeClient, AcmeRefused, Reply
from operations.subscriber.order import Orders, PrivateKey, Wish

T = 1_800_000_000
DAY = 86400
EXPIRES_AFTER = 300
CA_KEY = ec.generate_private_key(ec.SECP256R1())


@dataclass
class FakeCa:
    """Issues by `Orders.obtain`, revokes by `AcmeClient.revoke`; `away` fails what comes next."""

    clock: FakeClock
    window: tuple[int, int] | None = None
    away: str = ""
    broken: bool = False
    kid: str = ""
    life: int = 90 * DAY
    wishes: list[Wish] = field(default_factory=list)
    revoked: list[tuple[int, int]] = field(default_factory=list)
    registered: int = 0

    async def directory(self) -> dict[str, Any]:
        return {"renewalInfo": "https://ca.example/ari"}

    async def register(self, binding: tuple[str, str] | None) -> str:
        self.registered += 1
        self.kid = "https://ca.example/account/1"
        return self.kid

    async def obtain(self, wish: Wish, key: PrivateKey) -> str:
        if self.away == "obtain":
            raise TransientError("the CA is away")
        if self.away == "account":
            raise AcmeRefused("newOrder", 400, "accountDoesNotExist", "use newAccount", None)
        self.wishes.append(wish)
        now = self.clock.now()
        name = x509.Name([])
        return (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(datetime.fromtimestamp(now - 60, UTC))
            .not_valid_after(datetime.fromtimestamp(wish.not_after or now - 60 + self.life - 1, UTC))
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(CA_KEY.public_key()), critical=False
            )
            .sign(CA_KEY, hashes.SHA256())
            .public_bytes(Encoding.PEM)
            .decode()
        )

    async def revoke(self, certificate: x509.Certificate, reason: int) -> None:
        if self.away == "revoke":
            raise TransientError("the CA is away")
        self.revoked.append((certificate.serial_number, reason))

    async def renewal_info(self, certificate: x509.Certificate) -> Reply | None:
        if self.away == "ari":
            raise TransientError("the CA is away")
        if self.window is None:
            return None
        start, end = (datetime.fromtimestamp(each, UTC).isoformat() for each in self.window)
        body = json.dumps({"suggestedWindow": {"start": start, "end": "" if self.broken else end}}).encode()
        return Reply(200, CIMultiDictProxy(CIMultiDict({"Retry-After": "21600"})), body)


class Desk:
    """A keeper, its shelf and all that it needs; made anew it is the process's next life."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock(T)
        self.ca = FakeCa(self.clock)
        self.told: list[str] = []
        self.begin()

    def begin(self) -> None:
        self.shelf = Shelf(self.root)
        self.keeper = Keeper(
            cast(AcmeClient, self.ca),
            cast(Orders, self.ca),
            self.shelf,
            SiteSettings(expired_life=EXPIRES_AFTER),
            self.clock,
            SystemRandomness(),
            lambda site: self.told.append(site.name),
        )

    def serial(self, site: Site, which: str = SHOWN) -> int:
        held = self.shelf.held(site.name, which)
        return 0 if held is None else held.leaf.serial_number


VALID, REVOKED, EXPIRED = (
    Site(f"{each}-ec.test.localhost", "ec", each, f"https://{each}-ec.test.localhost/") for each in SiteStatus
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_one_account_is_made_and_kept(desk: Desk) -> None:
    await desk.keeper.step(VALID)
    await desk.keeper.step(REVOKED)
    desk.ca.kid = ""
    desk.begin()
    await desk.keeper.step(VALID)
    assert (desk.ca.registered, desk.ca.kid) == (1, "https://ca.example/account/1")


async def test_the_valid_one_is_shown_at_once(desk: Desk) -> None:
    await desk.keeper.step(VALID)
    assert desk.serial(VALID)
    assert desk.told == [VALID.name]
    assert desk.ca.revoked == []


@pytest.mark.clause("requirements 2.88")
async def test_the_valid_one_is_never_older_than_thirty_days(desk: Desk) -> None:
    desk.ca.window = (T + 54 * DAY, T + 64 * DAY)
    await desk.keeper.step(VALID)
    first = desk.serial(VALID)
    desk.clock.at = T - 60 + VALID_FOR - 1
    assert await desk.keeper.step(VALID) > 0
    assert desk.serial(VALID) == first
    desk.clock.at += 1
    await desk.keeper.step(VALID)
    assert desk.serial(VALID) != first


@pytest.mark.clause("RFC 9773 section 4.2")
async def test_the_valid_one_is_renewed_in_its_window_and_says_which_it_replaces(desk: Desk) -> None:
    desk.ca.window = (T + 2 * DAY, T + 2 * DAY + 1)
    await desk.keeper.step(VALID)
    assert desk.ca.wishes[0].replaces == ""
    desk.clock.at = T + 2 * DAY - 10
    assert await desk.keeper.step(VALID) <= 11
    assert len(desk.ca.wishes) == 1
    desk.clock.at += 30
    await desk.keeper.step(VALID)
    assert desk.ca.wishes[1].replaces.count(".") == 1


@pytest.mark.clause("RFC 9773 section 4.3.3")
async def test_an_incident_pulls_the_renewal_forward_once_ari_is_asked_again(desk: Desk) -> None:
    desk.ca.window = (T + 54 * DAY, T + 64 * DAY)
    await desk.keeper.step(VALID)
    assert await desk.keeper.step(VALID) <= 21600
    desk.ca.window = (T - DAY, T)
    desk.clock.at += 21600
    await desk.keeper.step(VALID)
    assert len(desk.ca.wishes) == 2


async def test_a_window_that_is_always_past_does_not_have_us_order_without_end(desk: Desk) -> None:
    desk.ca.window = (T - DAY, T)
    for _ in range(5):
        await desk.keeper.step(VALID)
    assert len(desk.ca.wishes) == 1


async def test_without_renewal_information_the_valid_one_is_renewed_in_time(desk: Desk) -> None:
    desk.ca.life = 6 * DAY
    await desk.keeper.step(VALID)
    desk.ca.away = "ari"
    desk.clock.at = T + 3 * DAY
    assert await desk.keeper.step(VALID) > 0
    desk.clock.at = T + 4 * DAY
    await desk.keeper.step(VALID)
    assert len(desk.ca.wishes) == 2


async def test_a_window_that_cannot_be_read_keeps_no_renewal_waiting(desk: Desk) -> None:
    desk.ca.life = 6 * DAY
    await desk.keeper.step(VALID)
    desk.ca.window = (0, 1)
    desk.ca.broken = True
    desk.clock.at = T + 4 * DAY
    await desk.keeper.step(VALID)
    assert len(desk.ca.wishes) == 2


async def test_a_register_that_was_restored_from_before_the_account_gets_it_anew(desk: Desk) -> None:
    await desk.keeper.step(VALID)
    desk.ca.away = "account"
    desk.clock.at += VALID_FOR
    keeping = asyncio.create_task(desk.keeper.keep(VALID))
    while desk.ca.kid:
        await asyncio.sleep(0)
    keeping.cancel()
    desk.ca.away = ""
    desk.begin()
    await desk.keeper.step(VALID)
    assert (desk.ca.registered, len(desk.ca.wishes)) == (2, 2)


@pytest.mark.clause("BR 2.2")
async def test_the_revoked_one_is_not_shown_before_it_is_revoked(desk: Desk) -> None:
    desk.ca.away = "revoke"
    with pytest.raises(TransientError):
        await desk.keeper.step(REVOKED)
    assert desk.serial(REVOKED) == 0
    coming = desk.serial(REVOKED, NEXT)
    desk.begin()  # the process died in between
    desk.ca.away = ""
    await desk.keeper.step(REVOKED)
    assert desk.ca.revoked == [(coming, 4)]
    assert desk.serial(REVOKED) == coming
    assert len(desk.ca.wishes) == 1


@pytest.mark.clause("BR 2.2")
async def test_what_the_revoked_site_shows_is_revoked_and_never_expired(desk: Desk) -> None:
    desk.ca.window = (T - DAY, T)  # ARI says of a revoked certificate: replace it now
    desk.ca.life = 6 * DAY
    while desk.clock.at < T + 60 * DAY:
        pause = await desk.keeper.step(REVOKED)
        held = desk.shelf.held(REVOKED.name, SHOWN)
        assert held is not None
        assert held.leaf.serial_number in {serial for serial, _ in desk.ca.revoked}
        desk.clock.at += max(1, min(pause, 3600))
        assert desk.clock.at < held.ends or pause == 0
    assert 14 <= len(desk.ca.wishes) <= 17


@pytest.mark.clause("BR 2.2")
async def test_the_expired_one_is_there_within_the_first_hour_and_not_before_it_has_expired(
    desk: Desk,
) -> None:
    pause = await desk.keeper.step(EXPIRED)
    assert desk.ca.wishes[0].not_after == T + EXPIRES_AFTER
    assert desk.serial(EXPIRED) == 0
    desk.begin()
    desk.clock.at = T + EXPIRES_AFTER  # the last second of its life
    assert await desk.keeper.step(EXPIRED) == 1
    assert desk.serial(EXPIRED) == 0
    desk.clock.at += 1
    await desk.keeper.step(EXPIRED)
    assert desk.serial(EXPIRED)
    assert pause < 3600
    assert len(desk.ca.wishes) == 1


async def test_the_expired_one_is_renewed_yearly_and_the_old_one_is_shown_until_then(desk: Desk) -> None:
    await desk.keeper.step(EXPIRED)
    desk.clock.at += EXPIRES_AFTER + 1
    await desk.keeper.step(EXPIRED)
    first = desk.serial(EXPIRED)
    desk.clock.at = T + EXPIRES_AFTER + EXPIRED_FOR - 1
    assert await desk.keeper.step(EXPIRED) == 1
    desk.clock.at += 1
    await desk.keeper.step(EXPIRED)
    assert desk.serial(EXPIRED) == first
    desk.clock.at += EXPIRES_AFTER + 1
    await desk.keeper.step(EXPIRED)
    assert desk.serial(EXPIRED) != first


async def test_a_ca_that_is_away_leaves_what_is_shown(desk: Desk) -> None:
    await desk.keeper.step(VALID)
    first = desk.serial(VALID)
    desk.ca.away = "obtain"
    desk.clock.at = T + 40 * DAY
    with pytest.raises(TransientError):
        await desk.keeper.step(VALID)
    assert desk.serial(VALID) == first


def test_keys_are_for_their_owner_alone_and_half_a_file_is_none(desk: Desk) -> None:
    desk.shelf.account.key()
    assert (desk.root / "account.pem").stat().st_mode & 0o077 == 0
    (desk.root / VALID.name).mkdir()
    (desk.root / VALID.name / SHOWN).write_text("-----BEGIN CERTIFICATE-----\nMII")
    assert desk.shelf.held(VALID.name, SHOWN) is None


@pytest.mark.clause("BR 2.2")
async def test_over_a_year_each_site_shows_what_its_name_says(desk: Desk) -> None:
    desk.ca.window = (T + 400 * DAY, T + 401 * DAY)  # ARI never asks for a renewal
    for site in (VALID, REVOKED, EXPIRED):
        await desk.keeper.step(site)
    desk.clock.at += EXPIRES_AFTER + 1
    while desk.clock.at < T + 380 * DAY:
        for site in (VALID, REVOKED, EXPIRED):
            while await desk.keeper.step(site) == 0:
                pass
            held = desk.shelf.held(site.name, SHOWN)
            assert held is not None
            revoked = held.leaf.serial_number in {serial for serial, _ in desk.ca.revoked}
            assert (held.ends < desk.clock.at, revoked) == (site is EXPIRED, site is REVOKED)
            assert site is not VALID or desk.clock.at - held.begins <= 30 * DAY
        desk.clock.at += DAY // 2
    assert len(desk.ca.wishes) == 14 + 14 + 2
