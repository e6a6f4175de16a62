"""The secrets in private files: those of external accounts and of nonces."""

from __future__ import annotations

from pathlib import Path

import pytest

from acme_server.registration.binding_secret import BindingSecret
from core.ephemeral.redis.secret import NonceSecret
from core.errors import ConfigurationError
from core.randomness import SystemRandomness
from core.shared_secret import SharedSecret

each_kind = pytest.mark.parametrize("kind", [BindingSecret, NonceSecret])


@each_kind
def test_the_secret_is_drawn_once_and_for_its_owner_alone(tmp_path: Path, kind: type[SharedSecret]) -> None:
    directory = tmp_path / "private"
    assert kind.existing("", directory) is None
    assert not directory.exists()
    drawn = kind.load("", directory, SystemRandomness())
    assert (directory / "secret").stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    for again in (kind.load("", directory, SystemRandomness()), kind.existing("", directory)):
        assert again is not None
        assert again.derived(b"a", 32) == drawn.derived(b"a", 32)


@each_kind
def test_a_secret_that_cannot_be_one_is_refused_with_the_remedy(
    tmp_path: Path, kind: type[SharedSecret]
) -> None:
    named = tmp_path / "named"

    def refused(remedy: str) -> None:
        with pytest.raises(ConfigurationError, match=remedy):
            kind.load(str(named), tmp_path, SystemRandomness())
        with pytest.raises(ConfigurationError, match=remedy):
            kind.existing(str(named), tmp_path)

    refused(kind.SETTING)
    assert not named.exists()
    named.write_bytes(b"short")
    named.chmod(0o600)
    refused("32 are needed")
    named.write_bytes(b"x" * 32)
    named.chmod(0o644)
    refused("open to others")


def test_keys_and_fingerprints_differ_by_purpose_and_secret() -> None:
    one, other = (b"secret %d of thirty-two octets and more" % number for number in (1, 2))
    fingerprints = {
        kind(secret).fingerprint for kind in (BindingSecret, NonceSecret) for secret in (one, other)
    }
    assert len(fingerprints) == 4
    assert len({NonceSecret(secret).key(epoch) for secret in (one, other) for epoch in (b"a", b"b")}) == 4
    assert one.decode() not in repr(NonceSecret(one))
