"""Trust anchors: read whole or refused, and in production IANA's or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import ConfigurationError
from tests.world.world import World
from validation.dns.anchors import DEFAULT, ROOT_KEYS, parse, read, require_root

DS_2017 = ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"


@pytest.mark.clause("BR 3.2.2.8.1")
def test_debians_anchors_are_ianas() -> None:
    anchors = read(Path(DEFAULT))
    require_root(anchors, DEFAULT)
    assert len(anchors) == len(ROOT_KEYS)


@pytest.mark.clause("RFC 4034 section 5.1")
def test_an_anchor_may_be_a_ds_record_or_a_key() -> None:
    require_root(parse(DS_2017, "a test"), "a test")


@pytest.mark.row("dns.no-loosening")
@pytest.mark.clause("BR 3.2.2.8.1")
@pytest.mark.parametrize(
    "anchor",
    [
        DS_2017.replace("E06D", "E06E"),
        DS_2017.replace("20326", "20327"),
        DS_2017.replace(". IN", "com. IN"),
        DS_2017.replace(
            "8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E88040", "8 1 E06D44B80B8F1D39A95C0B0D7C65D08458E88040"
        )[: -len("9BBC683457104237C7F8EC8D")],
    ],
    ids=["digest", "tag", "owner", "sha1"],
)
def test_any_other_anchor_is_refused_in_production(anchor: str) -> None:
    with pytest.raises(ConfigurationError, match="none of IANA's root keys"):
        require_root(parse(f"{DS_2017}\n{anchor}", "a test"), "a test")


@pytest.mark.row("dns.no-loosening")
def test_the_key_of_a_private_root_is_refused_in_production(world: World) -> None:
    with pytest.raises(ConfigurationError, match=r"dns-root-data"):
        require_root(parse(world.root_anchor(), "a test"), "a test")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "; nothing\n",
        ". IN A 192.0.2.1",
        ". IN DS 20326 8 2 zz",
        "<html>",
        ". IN DNSKEY",
        f"{DS_2017}\n" * 2000,
    ],
)
def test_what_is_no_file_of_anchors_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"validation\.trust_anchor: a test"):
        parse(text, "a test")


def test_a_file_that_is_not_there_is_refused_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="dns-root-data"):
        read(tmp_path / "root.key")
    (tmp_path / "root.key").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="no text"):
        read(tmp_path / "root.key")
