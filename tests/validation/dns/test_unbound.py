"""The configuration that we write is the specification's, and the Unbound that is installed takes it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from core.errors import ConfigurationError
from tests.support.unbounds import INSTALLED, instance
from validation.addresses import BARRED_V4, BARRED_V6
from validation.dns import unbound
from validation.dns.anchors import DEFAULT
from validation.dns.unbound import AT_MOST, BINDING, configuration, private, version


def option(file: Path, name: str) -> str:
    """Unbound's own reading of `file`."""
    return subprocess.check_output(["/usr/sbin/unbound-checkconf", "-o", name, str(file)], text=True).strip()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    file = tmp_path / "unbound.conf"
    file.write_text(configuration(instance(tmp_path)))
    return file


@pytest.mark.row("dns.unbound")
@pytest.mark.clause("BR 3.2.2.8.1")
def test_the_installed_unbound_accepts_the_configuration_and_reads_every_option_as_meant(
    written: Path,
) -> None:
    subprocess.run(["/usr/sbin/unbound-checkconf", str(written)], check=True, capture_output=True)
    specified = {
        "module-config": "validator iterator",
        **dict.fromkeys(("val-permissive-mode", "serve-expired", "prefetch", "aggressive-nsec"), "no"),
        **dict.fromkeys(("ignore-cd-flag", "use-caps-for-id", "qname-minimisation", "ede"), "yes"),
        **dict.fromkeys(("harden-glue", "harden-dnssec-stripped", "harden-below-nxdomain"), "yes"),
        **dict.fromkeys(("harden-algo-downgrade", "harden-large-queries", "harden-short-bufsize"), "yes"),
        "val-log-level": "2",
        "cache-max-ttl": "60",
        "cache-max-negative-ttl": "60",
        "edns-buffer-size": "1232",
        "outgoing-range": "4096",
        "so-rcvbuf": "1048576",
        "control-enable": "no",
        "interface": "127.0.0.1@5300",
        "trust-anchor-file": DEFAULT,
        "username": "",
        "chroot": "",
    }
    assert {name: option(written, name) for name in specified} == specified
    if INSTALLED >= unbound.DISCARDS:
        assert option(written, "discard-timeout") == "0"
    listed = set(option(written, "private-address").splitlines())
    assert listed == {str(network) for network in (*BARRED_V4, *BARRED_V6)}


@pytest.mark.row("dns.no-loosening")
def test_the_configuration_has_what_public_rules_ask_of_any(written: Path) -> None:
    assert {name: option(written, name) for name in BINDING} == BINDING
    assert {name: int(option(written, name)) for name in AT_MOST} == AT_MOST


def test_an_unbound_that_drops_slow_replies_is_told_not_to(tmp_path: Path) -> None:
    new = replace(instance(tmp_path), version=unbound.DISCARDS)
    assert "discard-timeout: 0" in configuration(new)
    assert "discard-timeout" not in configuration(replace(new, version=(1, 19, 3)))


def test_the_operators_text_comes_last(tmp_path: Path) -> None:
    text = configuration(replace(instance(tmp_path), extra="server:\n  num-threads: 2"))
    (tmp_path / "unbound.conf").write_text(text)
    assert option(tmp_path / "unbound.conf", "num-threads") == "2"


def test_networks_that_are_allowed_are_not_stripped_from_answers() -> None:
    left = private([ip_network("10.1.0.0/16"), ip_network("127.0.0.0/8"), ip_network("fc00::/7")])
    assert not any(ip_address("10.1.2.3") in network for network in left if network.version == 4)
    assert any(ip_address("10.2.0.1") in network for network in left if network.version == 4)
    assert ip_network("127.0.0.0/8") not in left
    assert ip_network("fc00::/7") not in left
    assert ip_network("fe80::/10") in left


@pytest.mark.parametrize(
    ("shown", "remedy"), [("Version 1.13.1\n", "install 1.17.0 or newer"), ("BIND 9.18", "name an Unbound")]
)
def test_another_program_or_an_old_one_is_refused(shown: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy):
        version(shown)
