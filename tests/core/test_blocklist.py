"""core/blocklist.py: the operator's list of bad keys, in badkeys' format."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from badkeys.allkeys import block as theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from core.blocklist import HASH, RECORD, Blocklist
from core.errors import ConfigurationError, TransientError
from core.public_keys import number
from tests.support.software_ca import private_key, spki

KEYS = [spki(private_key(algorithm)) for algorithm in ("ec-p256", "ec-p384", "ec-p521", "rsa-2048")]
OTHER = spki(private_key("ec-p256", 3))
pytestmark = pytest.mark.clause("BR 6.1.1.3")


def record(spki: bytes) -> bytes:
    return hashlib.sha256(number(spki)).digest()[:HASH] + b"\x01"


def written(path: Path, keys: list[bytes], fill: int = 1000) -> Path:
    padding = [hashlib.sha256(b"%d" % each).digest()[:RECORD] for each in range(fill)]
    path.write_bytes(b"".join(sorted([record(key) for key in keys] + padding)))
    return path


@pytest.mark.parametrize("fill", [0, 1, 1000])
def test_every_listed_key_is_found_and_no_other(tmp_path: Path, fill: int) -> None:
    listed = Blocklist(str(written(tmp_path / "list.dat", KEYS, fill)))
    assert listed.records == fill + len(KEYS)
    assert [listed.holds(key) for key in KEYS] == [True] * len(KEYS)
    assert not listed.holds(OTHER)
    listed.close()


def test_without_a_file_no_key_is_listed() -> None:
    assert not Blocklist().holds(KEYS[0])


def test_badkeys_itself_finds_the_same_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    octets = written(tmp_path / "list.dat", KEYS).read_bytes()
    monkeypatch.setattr(theirs, "_blmeta", {1: {"name": "ours"}})
    for key in KEYS:
        assert theirs._checkbl(octets, record(key)[:HASH])["subtest"] == "ours"
    assert not theirs._checkbl(octets, record(OTHER)[:HASH])


@settings(max_examples=50)
@given(
    st.sets(st.binary(min_size=HASH, max_size=HASH), min_size=1, max_size=40),
    st.binary(min_size=HASH, max_size=HASH),
)
def test_the_search_agrees_with_a_set(
    tmp_path_factory: pytest.TempPathFactory, hashes: set[bytes], other: bytes
) -> None:
    path = tmp_path_factory.mktemp("list") / "list.dat"
    path.write_bytes(b"".join(each + b"\x00" for each in sorted(hashes)))
    listed = Blocklist(str(path))
    assert listed._table is not None
    for each in hashes | {other}:
        assert listed._table.holds(each) is (each in hashes)
    listed.close()


WRONG = {
    "missing": (None, "No such file"),
    "empty, as a download that failed leaves it": (b"", "holds no key"),
    "cut off": (b"a" * 31, "multiple"),
    "unsorted": (b"b" * 16 + b"a" * 16, "not sorted"),
    "unsorted late": (b"".join(b"%016d" % each for each in range(70000)) + b"0" * 16, "not sorted"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_is_not_in_order_is_refused_with_the_remedy(tmp_path: Path, case: str) -> None:
    octets, why = WRONG[case]
    path = tmp_path / "list.dat"
    if octets is not None:
        path.write_bytes(octets)
    with pytest.raises(ConfigurationError, match=rf"ca\.blocklist.*{why}.*badkeys --update-bl"):
        Blocklist(str(path))


async def test_a_changed_file_is_taken_into_use_and_a_broken_one_is_not(tmp_path: Path) -> None:
    path = written(tmp_path / "list.dat", KEYS[:1])
    listed = Blocklist(str(path))
    assert await listed.reload() is False
    os.replace(written(tmp_path / "new.dat", KEYS[:2]), path)
    assert await listed.reload() is True
    assert listed.holds(KEYS[1])
    (tmp_path / "bad.dat").write_bytes(b"x")
    os.replace(tmp_path / "bad.dat", path)
    with pytest.raises(ConfigurationError, match="multiple"):
        await listed.reload()
    path.unlink()
    with pytest.raises(ConfigurationError, match="No such file"):
        await listed.reload()
    assert listed.holds(KEYS[0])
    assert listed.holds(KEYS[1])
    listed.close()


def test_a_file_cut_off_while_in_use_lets_no_key_pass(tmp_path: Path) -> None:
    path = written(tmp_path / "list.dat", KEYS)
    listed = Blocklist(str(path))
    os.truncate(path, 0)
    with pytest.raises(TransientError, match="put the whole list back"):
        listed.holds(OTHER)
    listed.close()
