"""People at the vault's process: k of them open its token, k - 1 do not; one halts, k resume."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import pytest

from core.clock import SystemClock
from core.data_directory import DataDirectory
from core.errors import HaltIssuance, Refused, TransientError
from core.people import Identity, seal_to
from core.randomness import SystemRandomness
from core.settings import Settings
from signer import api, consent, serials
from signer.client import Vault
from signer.vault.sealed import hierarchy
from tests.core.test_checks import PRODUCTION
from tests.signer.vault.server.requests import DAY, KEY, request
from tests.support.people import Crew, hand_over
from tests.support.vault import RunningVault


@dataclass
class Room:
    """A vault of which two of three people hold the PIN; locked."""

    data: DataDirectory
    crew: Crew
    process: RunningVault
    vault: Vault
    before: int = 0

    async def activate(self, *numbers: int) -> api.ActivationState:
        for number in numbers:
            state = await self.vault.activation()
            if not state.locked:
                break
            state = await self.vault.activate(self.crew.request(number, state))
        return state

    def consent(self, number: int, purpose: bytes, state: api.ActivationState) -> api.ConsentRequest:
        return consent.consent(self.crew.people[number], purpose, "tester", state)

    def kinds(self) -> list[str]:
        """Of what the journal holds since the fixture."""
        return [entry["kind"] for entry in self.entries()]

    def entries(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.data.journal.read_bytes().splitlines()[self.before :]]

    async def restart(self) -> None:
        self.process.kill()
        await self.vault.close()
        await asyncio.to_thread(self.process.start)

    async def tidy(self) -> None:
        state = await self.vault.activation()
        if state.halted:
            for number in (0, 1):
                await self.vault.resume(self.consent(number, consent.RESUME, state))
        if state.activating:
            names = [each.person.name for each in self.crew.people]
            await self.activate(*(names.index(name) for name in set(names) - set(state.activating)))
        state = await self.vault.activation()
        if not state.locked:
            for number in (0, 1):
                if self.crew.people[number].person.name not in state.deactivating:
                    await self.vault.deactivate(self.consent(number, consent.DEACTIVATE, state))
        self.before = len(self.data.journal.read_bytes().splitlines())


@pytest.fixture(scope="module")
def shared(
    ceremony: DataDirectory, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[DataDirectory, Crew, RunningVault]]:
    root = tmp_path_factory.mktemp("people") / "data"
    shutil.copytree(ceremony.root, root)
    data = DataDirectory(root)
    crew = hand_over(data)
    process = RunningVault(data).start()
    yield data, crew, process
    process.stop()


@pytest.fixture
async def room(shared: tuple[DataDirectory, Crew, RunningVault]) -> AsyncIterator[Room]:
    """The one vault, locked, not halted, with nobody there."""
    data, crew, process = shared
    found = Room(data, crew, process, Vault(data.vault_socket))
    await found.tidy()
    yield found
    await found.vault.close()


async def refused_everything(vault: Vault) -> bool:
    """Whether nothing at all is signed now."""
    now = SystemClock().now()
    serial = serials.draw(SystemRandomness())
    for signing in (
        vault.prepare(request()),
        vault.local_service(serial, KEY),
        vault.sign_ocsp(api.OcspRequest("ec-1", serial, "sha256", now, now + DAY, None, None)),
        vault.sign_crl(api.CrlRequest("ec-1", 0, 1, now, now + DAY, ())),
    ):
        with pytest.raises(TransientError, match="2 of 3 people must activate it"):
            await signing
    return True


async def issue(vault: Vault) -> bytes:
    return (await vault.issue((await vault.prepare(request())).token)).certificate


@pytest.mark.clause("BR 6.2.8")
@pytest.mark.clause("CPS 6.2.8")
async def test_one_share_activates_nothing_and_two_do(room: Room) -> None:
    assert (await room.vault.activation()).locked
    assert await refused_everything(room.vault)
    state = await room.activate(2)
    assert (state.locked, state.activating) == (True, ("Chie",))
    assert await refused_everything(room.vault)
    assert "activate" not in room.kinds()
    state = await room.activate(0)
    assert (state.locked, state.activating) == (False, ())
    assert await issue(room.vault)
    (entry,) = [entry for entry in room.entries() if entry["kind"] == "activate"]
    people = [room.crew.people[number].person for number in (2, 0)]
    assert entry["issuance_id"] == ", ".join(f"{each.name} ({each.id})" for each in people)


async def test_a_locked_vault_describes_itself_and_tells_its_journal(room: Room) -> None:
    found = hierarchy.load(room.data, Settings())
    description = await room.vault.describe()
    assert [info.id for info in description.issuers] == [issuer.id for issuer in found.issuers]
    assert (await room.vault.recall("nothing")).intent is False
    assert (await room.vault.journal(0)).entries
    await room.activate(0, 1)
    responders = (await room.vault.describe()).responders
    await room.restart()
    assert (await room.vault.activation()).locked
    assert (await room.vault.describe()).responders == responders


async def test_after_a_kill_the_vault_is_locked_and_an_old_request_opens_nothing(room: Room) -> None:
    old = [room.crew.request(number, await room.vault.activation()) for number in (0, 1)]
    await room.vault.activate(old[0])
    await room.vault.activate(old[1])
    await room.restart()
    for each in old:
        with pytest.raises(Refused, match=r"person\.signature"):
            await room.vault.activate(each)
    assert await refused_everything(room.vault)
    assert not (await room.activate(1, 2)).locked


@pytest.mark.clause("CPS 6.4")
async def test_nobody_counts_twice_and_no_stranger_counts(room: Room) -> None:
    await room.activate(1)
    state = await room.vault.activation()
    before = room.kinds()
    wrong = {
        "activation.twice": room.crew.request(1, state),
        "activation.holder": replace(room.crew.request(0, state), holder_id="0123456789abcdef"),
        "person.signature": replace(room.crew.request(0, state), signature=bytes(64)),
        "share.wrong": replace(room.crew.request(0, state), index=3),
    }
    stranger = Identity.make("Zoe", "operator", SystemRandomness())
    share = room.crew.shares[0]
    forged = consent.activation(stranger, share.open(room.crew.people[0]), share.index, state)
    wrong["activation.holder "] = forged
    for code, asked in wrong.items():
        with pytest.raises(Refused, match=code.strip().replace(".", r"\.")):
            await room.vault.activate(asked)
    assert (await room.vault.activation()).activating == ("Beni",)
    assert room.kinds() == [*before, *["refused-access"] * len(wrong)]
    assert await refused_everything(room.vault)


@pytest.mark.clause("BR 5.4.1")
async def test_a_refused_attempt_is_in_the_journal_with_who_and_why(room: Room) -> None:
    state = await room.vault.activation()
    forged = replace(room.crew.request(0, state), signature=bytes(64))
    long = replace(forged, holder_id="x" * 100_000)
    early = room.consent(1, consent.DEACTIVATE, state)
    for asked in (room.vault.activate(forged), room.vault.activate(long), room.vault.deactivate(early)):
        with pytest.raises(Refused):
            await asked
    aoi, beni = (each.person.id for each in room.crew.people[:2])
    assert [entry["issuance_id"] for entry in room.entries() if entry["kind"] == "refused-access"] == [
        f"activate by {aoi}: person.signature",
        f"activate by {'x' * 16}: activation.holder",
        f"deactivate by {beni}: activation.locked",
    ]


async def test_a_wrong_share_is_told_at_once_and_costs_no_try_of_the_pin(room: Room) -> None:
    state = await room.vault.activation()
    sealed = seal_to(state.session_key, consent.share_info(state, 1), bytes(16))
    octets = consent.activation_octets(state, 1, sealed)
    aoi = room.crew.people[0]
    for _ in range(5):  # a token locks after fewer wrong PINs than this
        with pytest.raises(Refused, match=r"share\.wrong"):
            await room.vault.activate(
                api.ActivateRequest(aoi.person.id, 1, sealed, aoi.sign(consent.ACTIVATE, octets))
            )
    assert (await room.vault.activation()).activating == ()
    assert not (await room.activate(0, 1)).locked


@pytest.mark.clause("BR 6.2.9")
async def test_two_close_the_token_and_two_open_it_again(room: Room) -> None:
    await room.activate(0, 1)
    before = await issue(room.vault)
    state = await room.vault.activation()
    one = await room.vault.deactivate(room.consent(0, consent.DEACTIVATE, state))
    assert (one.locked, one.deactivating) == (False, ("Aoi",))
    with pytest.raises(Refused, match=r"activation\.twice"):
        await room.vault.deactivate(room.consent(0, consent.DEACTIVATE, state))
    with pytest.raises(Refused, match=r"person\.signature"):
        await room.vault.deactivate(room.consent(1, consent.RESUME, state))
    assert await issue(room.vault) != before
    assert (await room.vault.deactivate(room.consent(1, consent.DEACTIVATE, state))).locked
    assert await refused_everything(room.vault)
    assert room.kinds()[-1] == "deactivate"
    assert not (await room.activate(2, 1)).locked
    assert await issue(room.vault)


@pytest.mark.clause("house: the crash rule")
async def test_closing_the_token_lets_what_is_being_signed_end(room: Room) -> None:
    await room.activate(0, 1)
    tokens = [(await room.vault.prepare(request())).token for _ in range(20)]
    state = await room.vault.activation()
    await room.vault.deactivate(room.consent(0, consent.DEACTIVATE, state))
    *answers, closed = await asyncio.gather(
        *(room.vault.issue(each) for each in tokens),
        room.vault.deactivate(room.consent(1, consent.DEACTIVATE, state)),
        return_exceptions=True,
    )
    assert isinstance(closed, api.ActivationState)
    assert closed.locked
    assert all(isinstance(answer, api.Issued | TransientError) for answer in answers)
    kinds = room.kinds()
    assert kinds.count("intent") == kinds.count("result")


@pytest.mark.clause("house: halt in less than a second")
async def test_one_person_halts_issuance_at_once_with_certificates_under_way(room: Room) -> None:
    await room.activate(0, 1)
    stopped = asyncio.Event()

    async def keep_issuing() -> int:
        made = 0
        while not stopped.is_set():
            try:
                await issue(room.vault)
            except HaltIssuance:
                return made
            made += 1
        return made

    issuing = [asyncio.create_task(keep_issuing()) for _ in range(8)]
    async with asyncio.timeout(20):
        while (await room.vault.journal(room.before + 40, 1)).entries == ():
            pass
        began = time.monotonic()
        state = await room.vault.halt("tester", "a key may be known to others")
        took = time.monotonic() - began
        made = await asyncio.gather(*issuing)
    assert sum(made) >= 8
    assert took < 1
    assert state.halted.endswith('who says "tester": a key may be known to others')
    assert f"uid {os.getuid()}" in state.halted
    kinds = room.kinds()
    assert "intent" not in kinds[kinds.index("halt") :]
    assert kinds.count("intent") == kinds.count("result")
    stopped.set()


async def test_while_halted_crls_ocsp_and_our_own_directory_go_on_even_after_a_restart(room: Room) -> None:
    await room.activate(0, 1)
    prepared = await room.vault.prepare(request())
    with pytest.raises(Refused, match=r"halt\.reason"):
        await room.vault.halt("tester", " ")
    await room.vault.halt("tester", "drill")
    await room.vault.halt("tester", "again")
    with pytest.raises(HaltIssuance, match=r"\"tester\": drill"):
        await room.vault.issue(prepared.token)
    await room.restart()
    assert (await room.activate(0, 1)).halted.endswith('"tester": drill')
    with pytest.raises(HaltIssuance, match=r"\"tester\": drill"):
        await room.vault.prepare(request())
    now = SystemClock().now()
    serial = serials.draw(SystemRandomness())
    await room.vault.sign_ocsp(api.OcspRequest("ec-1", serial, "sha256", now, now + DAY, now, None))
    await room.vault.sign_crl(api.CrlRequest("ec-1", 0, 1, now, now + DAY, ()))
    await room.vault.local_service(serial, KEY)
    assert room.kinds().count("halt") == 1


@pytest.mark.clause("BR 5.2.2")
async def test_two_resume_and_the_operator_alone_does_not(room: Room) -> None:
    await room.activate(0, 1)
    with pytest.raises(Refused, match=r"halt\.none"):
        await room.vault.resume(api.ConsentRequest("tester"))
    state = await room.vault.halt("tester", "drill")
    with pytest.raises(Refused, match=r"2 of 3 people must agree, each with --identity FILE"):
        await room.vault.resume(api.ConsentRequest("root"))
    one = await room.vault.resume(room.consent(0, consent.RESUME, state))
    assert one.resuming == ("Aoi",)
    with pytest.raises(HaltIssuance):
        await room.vault.prepare(request())
    assert (await room.vault.resume(room.consent(2, consent.RESUME, state))).halted == ""
    assert await issue(room.vault)
    again = await room.vault.halt("tester", "another")
    for number in (0, 2):  # consent to end one halt is none to end the next
        with pytest.raises(Refused, match=r"person\.signature"):
            await room.vault.resume(room.consent(number, consent.RESUME, state))
    assert (await room.vault.activation()).halted == again.halted


async def test_with_the_pin_in_a_file_the_operator_halts_and_resumes_alone(data: DataDirectory) -> None:
    process = RunningVault(data).start()
    vault = Vault(data.vault_socket)
    try:
        assert "NOT CONFORMING: PIN in a file (BR 6.2.8, CPS 6.2.8)" in process.log.read_text()
        state = await vault.activation()
        assert (state.locked, state.threshold) == (False, 0)
        await vault.halt("tester", "drill")
        assert (await vault.resume(api.ConsentRequest("tester"))).halted == ""
        with pytest.raises(Refused, match=r"activation\.file"):
            await vault.deactivate(api.ConsentRequest("tester"))
        with pytest.raises(Refused, match=r"activation\.open"):
            await vault.activate(api.ActivateRequest("", 1, b"", b""))
        assert await issue(vault)
    finally:
        await vault.close()
        process.stop()


def test_production_refuses_a_pin_in_a_file(data: DataDirectory) -> None:
    with pytest.raises(RuntimeError, match="in production none lies on any disk"):
        RunningVault(data, arguments=[f"--set={each}" for each in PRODUCTION]).start()
    assert not data.vault_socket.exists()
    assert not data.journal.exists()


@pytest.mark.clause("CPS 6.2.8")
def test_no_pin_and_no_share_is_on_the_disk_of_such_a_ca(
    shared: tuple[DataDirectory, Crew, RunningVault],
) -> None:
    data, crew, _ = shared
    parts = [share.open(identity) for share, identity in zip(crew.shares, crew.people, strict=True)]
    for path in data.root.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for part in parts:
            assert part not in content
            assert part.hex().encode() not in content
