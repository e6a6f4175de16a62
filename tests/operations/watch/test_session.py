from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import aiohttp
import pytest

from core.clock import SystemClock
from core.errors import ConfigurationError
from core.randomness import SystemRandomness
from operations.watch.canary import Canary
from operations.watch.finding import State
from operations.watch.look import Wanted
from operations.watch.memory import CRLS, FOLLOWED, LOOKS, Look, Memory, SeenCrl, followed, load, save
from operations.watch.session import Outputs, Session
from tests.operations.watch.conftest import Watching
from tests.support.paper_ca import Page
from tests.world.addresses import free_port


def session(watching: Watching, outputs: Outputs) -> Session:
    wanted = Wanted(watching.ca.url, watching.anchor)
    return Session(wanted, None, outputs, SystemClock(), SystemRandomness())


def outputs(directory: Path) -> Outputs:
    return Outputs(directory / "state", directory / "page.html", directory / "watch.prom")


async def test_a_look_leaves_a_page_metrics_and_a_memory(watching: Watching, tmp_path: Path) -> None:
    watching.ca.files["/cps/"] = Page(b"<script>alert(1)</script>", "text/<b>", status=404)
    await session(watching, outputs(tmp_path)).once()
    page = (tmp_path / "page.html").read_text()
    assert "failed" in page
    assert "異常" in page
    assert "/cps/: HTTP status 404" in page
    metrics = (tmp_path / "watch.prom").read_text()
    assert 'acme_watch_state{check="page",subject="' in metrics
    assert "acme_watch_worst_state 2.0" in metrics
    memory, damage = load(tmp_path / "state/memory.json")
    assert (len(memory.looks), len(memory.crls), damage) == (1, 2, "")


async def test_a_server_that_is_slow_without_end_does_not_silence_the_watch(
    watching: Watching, tmp_path: Path
) -> None:
    under_test = session(watching, outputs(tmp_path))
    under_test.longest = 0.0
    found = await under_test.once()
    assert [(each.check, each.state) for each in found] == [("look", State.FAIL)]
    assert "did not end within" in (tmp_path / "page.html").read_text()


def test_ever_new_names_of_crls_do_not_fill_the_memory() -> None:
    memory = Memory()
    for number in range(CRLS + 10):
        memory.saw("http://ca.example/crl", SeenCrl(7, 1, []))
        memory.saw(f"http://ca.example/crl/{number}", SeenCrl(1, 1, []))
    assert len(memory.crls) == CRLS
    assert "http://ca.example/crl" in memory.crls


async def test_the_next_process_remembers_what_the_last_one_saw(watching: Watching, tmp_path: Path) -> None:
    await session(watching, outputs(tmp_path)).once()
    watching.ca.crl_number = 2
    found = await session(watching, outputs(tmp_path)).once()
    assert [each.seen for each in found if each.state is State.FAIL] == ["the CRLNumber fell from 7 to 2"]
    assert [look.state for look in load(tmp_path / "state/memory.json")[0].looks] == [State.OK, State.FAIL]


async def test_a_damaged_memory_is_told_once_and_begun_anew(watching: Watching, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/memory.json").write_text('{"crls": [')
    for expected in ([State.WARN], []):
        found = await session(watching, outputs(tmp_path)).once()
        assert [each.state for each in found if each.state is not State.OK] == expected


async def test_a_watch_that_goes_on_serves_its_page_and_metrics(watching: Watching) -> None:
    port = free_port()
    said: list[str] = []
    going = asyncio.create_task(
        session(watching, Outputs(listen=f"127.0.0.1:{port}")).for_ever(3600, said.append)
    )
    while not said:
        await asyncio.sleep(0.02)
    async with aiohttp.ClientSession() as http:
        for path, words in (("/", "seen from outside"), ("/metrics", "acme_watch_last_look_seconds")):
            async with http.get(f"http://127.0.0.1:{port}{path}") as answer:
                assert words in await answer.text()
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    assert "ok:" in said[0]


@pytest.mark.parametrize(
    ("canary", "told"),
    [
        (Canary("a.example", "http-01", "", "", Path()), "--canary-listen"),
        (Canary("a.example", "dns-01", "127.0.0.1:1", "", Path()), "--canary-hook"),
        (Canary("a.example", "smtp-01", "127.0.0.1:1", "", Path()), "one of http-01"),
    ],
)
def test_a_canary_that_could_not_fly_is_refused(canary: Canary, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        canary.check()


def test_a_memory_comes_back_as_it_was_and_stays_small(tmp_path: Path) -> None:
    memory = Memory(crls={"http://x/": SeenCrl(3, 4, ["ab"])}, manifest=9)
    for number in range(12 * FOLLOWED):
        memory.know("ec-1", number, number)
    for at in range(LOOKS + 50):
        memory.add(Look(at, State.OK, []))
    save(tmp_path / "memory.json", memory)
    again, _ = load(tmp_path / "memory.json")
    assert again == memory
    assert (len(again.ends), len(again.looks), again.looks[-1].at) == (10 * FOLLOWED, LOOKS, LOOKS + 49)


def test_two_looks_follow_the_same_serials_of_a_long_list() -> None:
    serials = set(range(10_000))
    first = set(followed(serials))
    later = set(followed(serials | set(range(20_000, 20_500))))
    assert len(first) == FOLLOWED
    assert len(first & later) > FOLLOWED * 0.9


async def command(watching: Watching, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "operations.cli", "watch", "--repository", watching.ca.url),
        *("--anchor", f"sha256:{watching.anchor.fingerprint}", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode(), complained.decode()


async def test_the_exit_status_says_how_it_stands(watching: Watching) -> None:
    code, said, _ = await command(watching)
    assert (code, said.splitlines()[-1].endswith("0 warn, 0 fail")) == (0, True)
    watching.ca.crl_this -= 30 * 3600
    watching.ca.crl_next -= 30 * 3600
    code, said, _ = await command(watching, "--json")
    told = json.loads(said)
    assert (code, told["state"]) == (1, "warn")
    assert {each["check"] for each in told["findings"] if each["state"] == "warn"} == {"crl"}
    watching.ca.crl_signer = watching.ca.stranger
    code, said, _ = await command(watching)
    assert code == 2
    assert "FAIL  crl" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--resolve", "pki.example"), "HOST=ADDRESS"),
        (("--canary-name", "a.example"), "--state"),
        (("--anchor", "/nowhere"), "sha256:HEX"),
    ],
)
async def test_options_that_cannot_be_used_are_told(
    watching: Watching, words: tuple[str, ...], told: str
) -> None:
    code, said, complained = await command(watching, *words)
    assert (code, said) == (3, "")
    assert told in complained
