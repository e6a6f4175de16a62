"""A whole CA with its nonces and limits in Redis, which goes away and comes back."""

from __future__ import annotations

import json
import subprocess
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import redis_server
from tests.support.acme_client import cert_id
from tests.support.ca import REPOSITORY, RunningCa
from tests.support.clients import Certbot, load, ocsp
from tests.support.redis_server import RedisServer
from tests.world.world import World

pytestmark = pytest.mark.long

NAME = "redis.example.com"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server.running(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def ca(redis: RedisServer, world: World, tmp_path: Path) -> Iterator[RunningCa]:
    running = RunningCa(
        tmp_path, {"validation.resolvers": [world.resolver], "redis.url": redis.url, "redis.timeout": 5}
    )
    try:
        yield running.start()
    finally:
        running.stop()


def told(ca: RunningCa, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(ca.command(command), cwd=REPOSITORY, capture_output=True, text=True, check=False)


def check_config(ca: RunningCa) -> subprocess.CompletedProcess[str]:
    return told(ca, "check-config")


@pytest.mark.clause("RFC 8555 section 6.5")
def test_certbot_gets_certificates_by_nonces_in_redis_and_503_while_it_is_away(
    ca: RunningCa, redis: RedisServer, door: str, tmp_path: Path
) -> None:
    assert check_config(ca).returncode == 0
    certbot = Certbot(ca, tmp_path / "certbot", door)
    ran = certbot.http01(NAME)
    assert ran.code == 0, ran.output
    assert redis.calls() > 5
    certificate, chain = certbot.certificate(NAME), certbot.chain(NAME)

    redis.kill()
    looked = check_config(ca)
    assert looked.returncode != 0
    assert "redis.url" in looked.stderr
    ran = certbot.renew()
    assert ran.code != 0
    with pytest.raises(urllib.error.HTTPError) as refused:
        ca.get(f"{ca.base_url}/acme/new-nonce")
    assert refused.value.code == 503
    assert int(refused.value.headers["Retry-After"]) > 0
    assert json.loads(refused.value.read())["type"] == "urn:ietf:params:acme:error:serverInternal"
    with pytest.raises(urllib.error.HTTPError) as degraded:
        ca.get(f"http://127.0.0.1:{ca.metrics_port}/healthz")
    assert degraded.value.code == 503
    assert "redis.url" in json.loads(degraded.value.read())["redis"]
    assert "ALARM  redis.url" in told(ca, "status").stdout
    # What needs no nonce goes on.
    directory = json.loads(ca.get(ca.directory_url))
    assert ca.get(f"{directory['renewalInfo']}/{cert_id(load(certificate))}")
    assert ocsp(ca, certificate, chain) == "good"

    redis.start()
    ran = certbot.renew()
    assert ran.code == 0, ran.output
    health = json.loads(ca.get(f"http://127.0.0.1:{ca.metrics_port}/healthz"))
    assert health["redis"].startswith("nonces given out before")
    assert "nonces given out before" in told(ca, "status").stdout
    metrics = ca.get(f"http://127.0.0.1:{ca.metrics_port}/metrics").decode()
    assert "acme_nonce_epochs_total 1.0" in metrics
    assert 'acme_redis_calls_total{outcome="error"}' in metrics

    redis.ask("HSET", redis.epoch(), "fingerprint", "0123456789abcdef")
    looked = check_config(ca)
    assert looked.returncode == 3
    assert "redis.secret_file" in looked.stderr

    redis.kill()
    ca.stop()
    ca.start()  # who reads the directory, OCSP and CRLs must not wait for it
    redis.start()
    assert redis.ask("CONFIG", "SET", "maxmemory", "100mb") == "+OK"
    assert redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru") == "+OK"
    looked = check_config(ca)
    assert looked.returncode == 3
    assert "noeviction" in looked.stderr
