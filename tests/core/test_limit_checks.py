"""core/limit_checks.py, and what core/checks.py asks of proxies: what cannot be is refused."""

from __future__ import annotations

import pytest

from core.configuration import load
from core.errors import ConfigurationError
from core.limit_checks import RATES
from core.settings import Limits


def test_every_count_has_a_period_and_may_be_turned_off() -> None:
    assert {"new_order_account", "certificate_set", "requests_address"} <= set(RATES)
    for name in RATES:
        limits = load(None, [f"limits.{name}=0"]).limits
        assert getattr(limits, name) == 0
        assert getattr(limits, f"{name}_period") == getattr(Limits(), f"{name}_period")


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ("limits.certificate_set=100001", "100000 at most can be counted; 0 turns the limit off"),
        ("limits.certificate_set=-1", "above zero"),
        ("limits.certificate_set_period=0", "above zero"),
        ("limits.certificate_set_period=40000000", "31622400 s at most"),
        ("limits.failure_wait=90000", "the first wait is the shortest one"),
        ("limits.connections_address=0", "above zero"),
        ("acme.trusted_proxies=10.0.0.1/8", "write networks like"),
        ("acme.trusted_proxies=proxy.example", "write networks like"),
        ("acme.proxy_header=X-Real-IP", 'write "X-Forwarded-For" or "Forwarded"'),
    ],
)
def test_what_cannot_be_is_refused(override: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy) as refused:
        load(None, [override])
    assert str(refused.value).startswith(override.partition("=")[0])


def test_proxies_are_networks_of_either_family() -> None:
    acme = load(None, ["acme.trusted_proxies=192.0.2.0/28, 2001:db8::7", "acme.proxy_header=forwarded"]).acme
    assert acme.trusted_proxies == ("192.0.2.0/28", "2001:db8::7")
