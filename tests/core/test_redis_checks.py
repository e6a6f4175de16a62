from __future__ import annotations

import pytest

from core.configuration import load
from core.errors import ConfigurationError
from tests.core.test_checks import PRODUCTION

SECRET = "open-sesame"


@pytest.mark.parametrize(
    ("overrides", "remedy"),
    [
        (["redis.url=127.0.0.1:6379"], "redis://host:port/0"),
        (["redis.url=http://127.0.0.1:6379"], "redis://host:port/0"),
        (["redis.url=redis://"], "redis://host:port/0"),
        (["redis.url=redis://127.0.0.1:99999"], "redis://host:port/0"),
        (["redis.url=redis://127.0.0.1:0"], "redis://host:port/0"),
        (["redis.url=redis://127.0.0.1/nought"], "redis://host:port/0"),
        (["redis.url=redis://127.0.0.1/0?socket_timeout=99"], "redis://host:port/0"),
        (["redis.url=unix://relative/s.sock"], "unix:///path"),
        (["redis.url=unix:"], "unix:///path"),
        (["redis.prefix=a:b"], "a-z, 0-9 and -"),
        (["redis.prefix={a}"], "a-z, 0-9 and -"),
        (["redis.timeout=0"], "above zero"),
        (["redis.timeout=11"], "10 seconds at most"),
        (["redis.password_file=/etc/secret"], "redis.url"),
        (["redis.secret_file=/etc/secret"], "redis.url"),
        (["redis.ca_file=/etc/ca.pem"], "redis.url"),
        (["redis.url=redis://127.0.0.1", "redis.ca_file=/etc/ca.pem"], "rediss://"),
    ],
)
def test_settings_of_redis_that_cannot_work_are_refused_with_the_remedy(
    overrides: list[str], remedy: str
) -> None:
    with pytest.raises(ConfigurationError, match=remedy) as refused:
        load(None, overrides)
    assert "redis." in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1",
        "redis://[::1]:6379/0",
        "redis://acme@localhost:6379/3",
        "rediss://redis.example:6380/0",
        "unix:///run/redis/redis-server.sock",
        "unix://acme@/run/redis.sock",
    ],
)
def test_the_forms_that_are_documented_are_taken(url: str) -> None:
    assert load(None, [f"redis.url={url}"]).redis.url == url


@pytest.mark.parametrize("url", [f"redis://:{SECRET}@127.0.0.1", f"rediss://me:{SECRET}@h:1/0"])
def test_a_password_in_the_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match="password_file") as refused:
        load(None, [f"redis.url={url}"])
    assert SECRET not in str(refused.value)


def test_production_sends_nothing_in_the_clear_to_another_machine() -> None:
    production = [*PRODUCTION, "vault.pin_file="]
    with pytest.raises(ConfigurationError, match="rediss://"):
        load(None, [*production, "redis.url=redis://redis.example:6379/0"])
    for url in ("redis://127.0.0.1:6379/0", "redis://localhost", "rediss://redis.example:6379/0"):
        load(None, [*production, f"redis.url={url}"])
