"""core/status_checks.py: the settings of CRLs."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.configuration import load
from core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ("status.crl_delay=61", "public within 60 s"),
        ("status.crl_size=10", "write octets"),
        ("status.crl_shards=1001", "1 to 1000"),
        ("status.issuer_crl_shards.ec-1=0", "status.issuer_crl_shards.ec-1 = 0"),
        ("status.issuer_crl_shards.ec-1=4000", "1 to 1000"),
    ],
)
def test_what_cannot_work_is_refused_with_its_remedy(tmp_path: Path, override: str, remedy: str) -> None:
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(ConfigurationError) as refusal:
        load(tmp_path / "config.toml", [override])
    assert remedy in str(refusal.value)


@pytest.mark.clause("requirements 2.63")
def test_an_issuer_may_have_another_number_of_crls_than_the_rest(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[status]\ncrl_shards = 2\nissuer_crl_shards = { ec-1 = 16 }\n")
    status = load(tmp_path / "config.toml", []).status
    assert (status.shards_of("ec-1"), status.shards_of("rsa-1")) == (16, 2)
