"""core/high_risk.py: which names make an order wait for a person, and how the list is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import ConfigurationError
from core.high_risk import MOST_WITHIN, HighRisk

LIST = """
# banks
bank.example        # the whole bank
=login.shop.example
*paypal*
xn--bcher-kva.example
203.0.113.9
2620:fe::fe
"""


def listed(directory: Path, text: str = LIST) -> HighRisk:
    path = directory / "high-risk.txt"
    path.write_text(text, encoding="utf-8")
    return HighRisk(str(path))


@pytest.mark.clause("BR 4.2.1")
@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("bank.example", "bank.example"),
        ("*.bank.example", "bank.example"),
        ("www.bank.example", "bank.example"),
        ("a.b.c.bank.example", "bank.example"),
        ("*.a.bank.example", "bank.example"),
        ("*.example", "bank.example"),  # it stands for bank.example, too
        ("notbank.example", ""),
        ("bank.example.org", ""),
        ("example", ""),
        ("login.shop.example", "=login.shop.example"),
        ("*.login.shop.example", "=login.shop.example"),
        ("*.shop.example", "=login.shop.example"),
        ("a.login.shop.example", ""),
        ("shop.example", ""),
        ("www.shop.example", ""),
        ("paypal.com", "*paypal*"),
        ("my-paypal-login.example.org", "*paypal*"),
        ("a.paypal.b.example.org", "*paypal*"),
        ("pay.pal.com", ""),
        ("xn--pypal-4ve.com", ""),  # it only looks alike
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.99", ""),
        ("2620:fe::fe", "2620:fe::fe"),
        ("2620:fe::f", ""),
    ],
)
def test_a_name_is_found_by_the_pattern_that_means_it(tmp_path: Path, name: str, pattern: str) -> None:
    found = listed(tmp_path).found([name, "harmless.test"])
    assert found == ({name: pattern} if pattern else {})


def test_without_a_list_nothing_is_found() -> None:
    assert HighRisk().found(["bank.example"]) == {}


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("Bank.example", "in A-labels"),
        ("bücher.example", "in A-labels"),
        ("*.bank.example", "in A-labels"),
        ("*bank", "in A-labels"),
        ("=*bank*", "in A-labels"),
        ("bank.example.", "in A-labels"),
        ("a_b.example", "in A-labels"),
        ("9.9.9.09", "in A-labels"),
        ("2620:FE::1", "in A-labels"),
        ("two words", "in A-labels"),
        ("*ab*", "3 characters or more"),
        ("\n".join(["*abc*"] * MOST_WITHIN + ["*def*"]), f"{MOST_WITHIN} lines at most"),
    ],
)
def test_a_list_that_is_not_in_order_is_refused_with_the_line(tmp_path: Path, line: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"ca\.high_risk = .*, line \d+, .*{remedy}"):
        listed(tmp_path, f"sound.example\n{line}\n")


def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"ca\.high_risk = .*No such file.*a pattern a line"):
        HighRisk(str(tmp_path / "missing"))
    (tmp_path / "latin").write_bytes(b"b\xfccher.example")
    with pytest.raises(ConfigurationError, match=r"ca\.high_risk"):
        HighRisk(str(tmp_path / "latin"))


async def test_a_changed_list_is_taken_into_use_and_a_broken_one_is_not(tmp_path: Path) -> None:
    risk = listed(tmp_path, "bank.example\n")
    assert not await risk.reload()
    path = tmp_path / "high-risk.txt"
    path.write_text("bank.example\nshop.example\n")
    assert await risk.reload()
    assert risk.found(["shop.example"])
    for broken in ("bank..example\n", None):
        if broken is None:
            path.unlink()
        else:
            path.write_text(broken)
        with pytest.raises(ConfigurationError):
            await risk.reload()
        assert risk.found(["shop.example", "bank.example"]).keys() == {"shop.example", "bank.example"}
    path.write_text("")
    assert await risk.reload()
    assert risk.found(["shop.example"]) == {}
