"""status/ocsp/index: whatever happens to a file, nothing is believed that was not written."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from core.answerable import Place
from core.clock import FakeClock
from core.errors import ConfigurationError
from status.ocsp.index import files
from status.ocsp.index.files import Kept, segment_path, tail_path
from status.ocsp.index.index import Index
from status.ocsp.index.records import Frame, Record, key_of, packed, unpacked
from status.ocsp.index.writer import Piece, Writer
from tests.support.database import NOW

FRAME = Frame("ec1", "sha256", b"certid", b"responder", b"algorithm", b"certificates" * 50)
HERE = Place(0, "", 0)


def serial(number: int) -> bytes:
    return b"\x01" + random.Random(number).randbytes(16)


@cache
def kept(number: int, version: int = 0, this_update: int = NOW, frame: Frame = FRAME) -> Kept:
    """An answer about the certificate `number`, good while `version` is 0."""
    record = Record(
        key=key_of(serial(number), frame.hash_name),
        version=version,
        this_update=this_update,
        next_update=this_update + 345_600,
        produced_at=this_update,
        revoked_at=this_update if version else None,
        reason=4 if version else 0,
        signature=random.Random(number).randbytes(70 + number % 3),
    )
    return frame, record


def in_order(*answers: Kept) -> list[Kept]:
    return sorted(answers, key=lambda each: each[1].key)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def opened(tmp_path: Path, clock: FakeClock) -> Callable[[], Writer]:
    return lambda: Writer(tmp_path / "answers", clock, tail_records=8)


def test_what_was_written_is_found_by_every_reader(
    tmp_path: Path, clock: FakeClock, opened: Callable[[], Writer]
) -> None:
    writer = opened()
    writer.replace(0, Piece(in_order(*(kept(n) for n in range(200))), NOW, HERE, 0))
    writer.append([kept(1000), kept(5, version=3)])
    reader = Index(tmp_path / "answers", clock, every=0)
    for number in range(200):
        assert reader.find(serial(number), "sha256") == (kept(5, version=3) if number == 5 else kept(number))
    assert reader.find(serial(1000), "sha256") == kept(1000)
    assert reader.find(serial(0), "sha1") is None
    assert reader.find(serial(2000), "sha256") is None
    assert sorted(map(str, reader.all())) == sorted(map(str, writer.index.all()))
    assert len([*reader.all()]) == 201
    writer.close()


def test_a_reader_notices_a_new_generation_and_news(
    tmp_path: Path, clock: FakeClock, opened: Callable[[], Writer]
) -> None:
    reader = Index(tmp_path / "answers", clock, every=0)
    assert reader.find(serial(1), "sha256") is None
    writer = opened()
    writer.append([kept(1)])
    assert reader.find(serial(1), "sha256") == kept(1)
    later = kept(1, this_update=NOW + 1)
    writer.replace(0, Piece([later], NOW, HERE, 0))
    assert reader.find(serial(1), "sha256") == later
    writer.append([kept(1, version=1, this_update=NOW + 1)])
    found = reader.find(serial(1), "sha256")
    assert found is not None
    assert found[1].version == 1
    writer.close()


def test_a_reader_that_is_generations_behind_has_all_that_it_looked_at(
    tmp_path: Path, clock: FakeClock, opened: Callable[[], Writer]
) -> None:
    writer = opened()
    writer.replace(0, Piece([kept(1)], NOW, HERE, 0))
    reader = Index(tmp_path / "answers", clock, every=1e9)
    reader.look()
    for later in range(1, 5):
        writer.replace(0, Piece([kept(1, this_update=NOW + later)], NOW, HERE, 0))
    assert reader.newest(kept(1)[1].key) == kept(1)
    writer.close()


@pytest.mark.clause("BR 4.9.10")
def test_an_older_answer_never_replaces_a_newer_one(opened: Callable[[], Writer]) -> None:
    writer = opened()
    newest = kept(1, version=2)
    assert writer.append([newest]) == [newest]
    assert (
        writer.append([kept(1, version=1, this_update=NOW + 5), kept(1, version=2, this_update=NOW - 5)])
        == []
    )
    writer.replace(0, Piece([kept(1, this_update=NOW + 9)], NOW, HERE, writer.closed_tail))
    assert writer.index.newest(newest[1].key) == newest
    writer.close()
    again = opened()
    assert again.index.newest(newest[1].key) == newest
    assert not again.was_damaged
    again.close()


def test_an_answer_from_the_future_counts_for_nothing(opened: Callable[[], Writer]) -> None:
    writer = opened()
    writer.append([kept(1, this_update=NOW + 3600)])
    assert writer.index.newest(kept(1)[1].key) is None
    assert writer.append([kept(1)]) == [kept(1)]
    assert writer.index.newest(kept(1)[1].key) == kept(1)
    writer.close()


def test_full_tails_go_into_segments_and_are_removed(tmp_path: Path, opened: Callable[[], Writer]) -> None:
    writer = opened()
    writer.replace(0, Piece([], NOW, HERE, 0))
    for number in range(20):
        writer.append([kept(number)])
    assert writer.tail_is_full
    assert len(writer.catalogue.tails) == 3
    everything = in_order(*(kept(number) for number in range(20)))
    writer.replace(0, Piece(everything, NOW, HERE, writer.closed_tail))
    assert len(writer.catalogue.tails) == 1
    assert not writer.tail_is_full
    writer.replace(
        0, Piece(everything, NOW, HERE, writer.closed_tail)
    )  # the catalogue before names them no more
    assert len([*(tmp_path / "answers").glob("tail-*")]) == 1
    assert len([*(tmp_path / "answers").glob("segment-*")]) == 2
    assert [writer.index.newest(each[1].key) for each in everything] == everything
    writer.close()


def test_a_segment_is_split_and_both_halves_are_found(opened: Callable[[], Writer]) -> None:
    writer = opened()
    everything = in_order(*(kept(number) for number in range(100)))
    writer.replace(0, Piece(everything, NOW, HERE, 0))
    renewed = [(frame, record._replace(this_update=NOW + 9)) for frame, record in everything[:50]]
    writer.replace(0, Piece(renewed, NOW, HERE, 0, rest=everything[50][1].key))
    assert len(writer.catalogue.segments) == 2
    assert [writer.index.newest(each[1].key) for each in everything] == renewed + everything[50:]
    assert len([*writer.index.all()]) == 100
    writer.close()


def test_two_keepers_never_write_one_index(opened: Callable[[], Writer]) -> None:
    writer = opened()
    with pytest.raises(ConfigurationError, match="another keeper"):
        opened()
    writer.close()
    opened().close()


@pytest.mark.parametrize("octet", range(0, 140, 7))
def test_a_record_with_a_flipped_bit_is_none(octet: int) -> None:
    octets = bytearray(packed(kept(7)[1], 0, 72))
    octets[octet % len(octets)] ^= 1 << octet % 8
    assert unpacked(bytes(octets)) is None


def test_after_bit_flips_anywhere_in_a_segment_nothing_wrong_is_found(
    tmp_path: Path, clock: FakeClock, opened: Callable[[], Writer]
) -> None:
    writer = opened()
    everything = in_order(*(kept(number) for number in range(30)))
    writer.replace(0, Piece(everything, NOW, HERE, 0))
    path = segment_path(tmp_path / "answers", writer.catalogue.segments[0].number)
    writer.close()
    whole = path.read_bytes()
    chance = random.Random(1)
    for _ in range(200):
        broken = bytearray(whole)
        broken[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(broken)
        reader = Index(tmp_path / "answers", clock, every=0)
        found = [reader.find(serial(number), "sha256") for number in range(30)]
        assert all(each in (None, kept(number)) for number, each in enumerate(found))
    for size in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert Index(tmp_path / "answers", clock, every=0).find(serial(1), "sha256") is None
        again = opened()
        assert again.was_damaged
        again.close()


def test_a_torn_or_flipped_tail_is_believed_up_to_there_and_goes_on_elsewhere(
    tmp_path: Path, clock: FakeClock, opened: Callable[[], Writer]
) -> None:
    writer = opened()
    for number in range(4):
        writer.append([kept(number)])
    path = tail_path(tmp_path / "answers", writer.catalogue.tails[0])
    writer.close()
    whole = path.read_bytes()
    for size in range(0, len(whole), 13):
        path.write_bytes(whole[:size])
        reader = Index(tmp_path / "answers", clock, every=0)
        found = [reader.find(serial(number), "sha256") for number in range(4)]
        known = [each for each in found if each is not None]
        assert found == known + [None] * (4 - len(known))
        assert known == [kept(number) for number in range(len(known))]
    chance = random.Random(2)
    for _ in range(100):
        broken = bytearray(whole)
        broken[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(broken)
        reader = Index(tmp_path / "answers", clock, every=0)
        for number in range(4):
            assert reader.find(serial(number), "sha256") in (None, kept(number))
    path.write_bytes(whole[:-5])
    again = opened()
    assert again.was_damaged
    again.append([kept(9)])
    assert len(again.catalogue.tails) == 2
    reader = Index(tmp_path / "answers", clock, every=0)
    assert [reader.find(serial(number), "sha256") for number in (0, 3, 9)] == [kept(0), None, kept(9)]
    again.close()


def test_a_damaged_catalogue_gives_way_to_the_one_before(
    tmp_path: Path, clock: FakeClock, opened: Callable[[], Writer]
) -> None:
    writer = opened()
    writer.replace(0, Piece([kept(1)], NOW, HERE, 0))
    writer.replace(0, Piece([kept(1, this_update=NOW + 1)], NOW, HERE, 0))
    writer.close()
    path = tmp_path / "answers" / files.CATALOGUE
    path.write_bytes(path.read_bytes()[:-3])
    reader = Index(tmp_path / "answers", clock, every=0)
    assert reader.find(serial(1), "sha256") == kept(1)
    again = opened()
    again.replace(0, Piece([kept(1, this_update=NOW + 2)], NOW, HERE, 0))
    assert reader.find(serial(1), "sha256") == kept(1, this_update=NOW + 2)
    again.close()


def _history(writer: Writer) -> None:
    """Appends, rotations, splits and replacements; everything is said of NOW or later."""
    writer.replace(0, Piece(in_order(*(kept(n) for n in range(10))), NOW, HERE, 0))
    for number in range(10, 22):
        writer.append([kept(number)])
    writer.append([kept(3, version=1)])
    everything = in_order(*(kept(n) for n in range(22)))
    writer.replace(0, Piece(everything[:9], NOW, HERE, writer.closed_tail, rest=everything[9][1].key))
    writer.replace(1, Piece(everything[9:], NOW, HERE, writer.closed_tail))
    writer.append([kept(4, version=2)])


@pytest.mark.long
@pytest.mark.clause("house: a crash at any instant loses nothing that was acknowledged")
def test_after_a_kill_at_any_step_of_any_write_all_that_was_acknowledged_is_there(tmp_path: Path) -> None:
    # Each child is killed at its n-th call that touches the disk; the parent then reads what is left.
    possible = [kept(number, version) for number in range(22) for version in (0, 1, 2)]
    for step in range(1000):
        directory, (told, tell) = tmp_path / str(step), os.pipe()
        child = os.fork()
        if child == 0:
            _killed_at(step, directory, tell)
        os.close(tell)
        with os.fdopen(told) as lines:
            acknowledged = [kept(*map(int, line.split())) for line in lines]
        _, how = os.waitpid(child, 0)
        reader = Index(directory, FakeClock(NOW), every=0)
        reader.look()
        held = {each[1].key: each for each in reader.all()}
        assert all(each in possible for each in held.values())
        for each in acknowledged:
            assert held[each[1].key][1].order >= each[1].order
        writer = Writer(directory, FakeClock(NOW), tail_records=8)
        writer.append([kept(30)])
        assert writer.index.newest(kept(30)[1].key) == kept(30)
        for each in acknowledged:
            found = writer.index.newest(each[1].key)
            assert found is not None
            assert found[1].order >= each[1].order
        writer.close()
        if os.WIFEXITED(how):
            break
    assert 50 < step < 1000


def _killed_at(step: int, directory: Path, told: int) -> None:
    """Runs in the child: the history, until its `step`-th call to the kernel that changes something."""
    left = step

    def counted(real):  # type: ignore[no-untyped-def]
        def call(*arguments, **named):  # type: ignore[no-untyped-def]
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), 9)
            left -= 1
            return real(*arguments, **named)

        return call

    real_write = os.write
    for name in ("write", "fsync", "fdatasync", "replace", "link"):
        setattr(os, name, counted(getattr(os, name)))
    try:
        writer = Writer(directory, FakeClock(NOW), tail_records=8)
        append = writer.append

        def append_and_tell(answers: list[Kept]) -> list[Kept]:
            taken = append(answers)
            for each in taken:
                number = next(n for n in range(22) if kept(n)[1].key == each[1].key)
                real_write(told, b"%d %d\n" % (number, each[1].version))
            return taken

        writer.append = append_and_tell  # type: ignore[assignment, method-assign]
        _history(writer)
    finally:
        os._exit(0)
