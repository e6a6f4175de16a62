"""What loosens a resolver is refused under public rules, by Unbound's own reading of its configuration."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from core.data_directory import DataDirectory
from core.errors import ConfigurationError
from core.randomness import SystemRandomness
from core.settings import Ca, Rules, Settings, Validation
from tests.support.unbounds import instance, loosened, validation_in
from tests.world.world import World
from validation.dns import eyes
from validation.dns.anchors import DEFAULT
from validation.dns.resolver import Upstream
from validation.dns.resolver_rules import FORBIDDEN, examine, require_listening
from validation.dns.unbound import configuration

pytestmark = [pytest.mark.row("dns.no-loosening"), pytest.mark.clause("BR 3.2.2.8.1")]

CHECKCONF = Path("/usr/sbin/unbound-checkconf")
ISLAND = "com. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"


def examined(directory: Path, extra: str, *, production: bool = True) -> None:
    file = directory / "unbound.conf"
    file.write_text(configuration(instance(directory)) + extra + "\n")
    examine(file, "validation.unbound_include", CHECKCONF, production=production)


@pytest.mark.parametrize(
    "extra",
    [
        "",
        "server:\n  num-threads: 2\n  outgoing-interface: 192.0.2.1",
        'forward-zone:\n  name: "."\n  forward-addr: 192.0.2.53',
        "# domain-insecure: example.com, or local-data: this is a comment",
    ],
    ids=["ours", "tuned", "forwarder", "comment"],
)
def test_ours_and_what_loosens_nothing_is_taken(tmp_path: Path, extra: str) -> None:
    examined(tmp_path, extra)


@pytest.mark.clause("RFC 7646")
@pytest.mark.parametrize(
    "option",
    [
        "val-permissive-mode: yes",
        "domain-insecure: example.com",
        "ignore-cd-flag: no",
        'module-config: "iterator"',
        'module-config: "respip validator iterator"',
        "val-override-date: 20200101000000",
        "val-override-date: -1",
        "insecure-lan-zones: yes",
        "disable-dnssec-lame-check: yes",
        "harden-dnssec-stripped: no",
        "harden-algo-downgrade: no",
        "harden-glue: no",
        'val-nsec3-keysize-iterations: "1024 0 2048 0 4096 0"',
        "serve-expired: yes",
        "use-caps-for-id: no",
        "caps-whitelist: example.com",
        "edns-buffer-size: 4096",
        "cache-max-ttl: 86400",
        "cache-min-ttl: 3600",
        "val-sig-skew-max: 31536000",
        "access-control-view: 127.0.0.0/8 other",
        "trusted-keys-file: /dev/null",
        'local-data: "example.com A 192.0.2.1"',
        "local-zone: example.com always_nxdomain",
        "local-zone:example.com static",
    ],
)
def test_an_option_that_loosens_validation_is_refused_by_name(tmp_path: Path, option: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{option.partition(':')[0]}.*take it out"):
        examined(tmp_path, f"server:\n  {option}", production=False)


@pytest.mark.parametrize("word", sorted(FORBIDDEN))
def test_a_clause_that_unbound_does_not_print_is_found_in_the_text(tmp_path: Path, word: str) -> None:
    for text in (f"{word}:\n", f'\tserver: log-identity: "#" {word}: "x"'):
        with pytest.raises(ConfigurationError, match=f"{word}:.*take it out"):
            examined(tmp_path, text, production=False)


@pytest.mark.parametrize("space", ["\v", "\f", "\x1c", "\x85", "\r"])
def test_what_only_python_takes_for_a_comment_is_found(tmp_path: Path, space: str) -> None:
    file = tmp_path / "unbound.conf"
    text = f'server:\n  identity: a{space}# local-data: "example.com A 192.0.2.1"\n'
    file.write_text(configuration(instance(tmp_path)) + text, encoding="latin-1", newline="")
    with pytest.raises(ConfigurationError, match="local-data:"):
        examine(file, "validation.unbound_include", CHECKCONF, production=False)


@pytest.mark.must("rfc8659.5.4.authoritative")
@pytest.mark.parametrize(
    "extra",
    [
        "stub-zone:\n  name: example.com\n  stub-addr: 192.0.2.53",
        "forward-zone:\n  name: example.com\n  forward-addr: 192.0.2.53",
        'forward-zone:\n  name: "."\n  forward-addr: 192.0.2.53\nforward-zone:\n  name: com\n',
        f'server:\n  trust-anchor: "{ISLAND}"',
    ],
    ids=["stub", "forwarder of one", "forwarder of another", "island of trust"],
)
def test_production_leaves_no_name_out_of_the_public_tree(tmp_path: Path, extra: str) -> None:
    examined(tmp_path, extra, production=False)
    with pytest.raises(ConfigurationError, match=r"validation\.unbound_include|IANA"):
        examined(tmp_path, extra)


def test_a_configuration_without_a_trust_anchor_validates_nothing(tmp_path: Path) -> None:
    file = tmp_path / "unbound.conf"
    text = configuration(instance(tmp_path)).replace(f'trust-anchor-file: "{DEFAULT}"', "")
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="without a trust anchor"):
        examine(file, "validation.resolver_config", CHECKCONF, production=False)


def test_what_is_included_counts(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "one.conf").write_text(f'server:\n  include: "{tmp_path}/parts/two"\n')
    (tmp_path / "parts" / "two").write_text('local-data: "example.com A 192.0.2.1"\n')
    with pytest.raises(ConfigurationError, match="local-data:"):
        examined(tmp_path, f'include: "{tmp_path}/parts/*.conf"')
    with pytest.raises(ConfigurationError, match="write its whole path"):
        examined(tmp_path, "include: parts/one.conf")
    (tmp_path / "parts" / "two").write_text(f'include: "{tmp_path}/parts/two"\n')
    with pytest.raises(ConfigurationError, match="includes more than"):
        examined(tmp_path, f'include: "{tmp_path}/parts/*.conf"')


def test_a_file_that_unbound_cannot_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no-such-option"):
        examined(tmp_path, "server:\n  no-such-option: yes")
    with pytest.raises(ConfigurationError, match="cannot read"):
        examine(tmp_path / "none", "validation.resolver_config", CHECKCONF, production=True)
    file = tmp_path / "unbound.conf"
    with pytest.raises(ConfigurationError, match="comes with Unbound"):
        examine(file, "validation.resolver_config", tmp_path / "none", production=True)


def test_the_file_that_is_shown_is_that_of_the_resolver_that_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "unbound.conf"
    file.write_text(configuration(instance(tmp_path)))
    require_listening(file, [Upstream("127.0.0.1", 5300)], CHECKCONF)
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:53 is not where"):
        require_listening(file, [Upstream("127.0.0.1", 53)], CHECKCONF)
    file.write_text("server:\n  port: 5301\n")
    require_listening(file, [Upstream("127.0.0.1", 5301), Upstream("::1", 5301)], CHECKCONF)


async def test_a_perspective_refuses_under_public_rules_what_it_tells_of_under_private_ones(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    validation = validation_in(world, include=loosened(world, tmp_path, "domain-insecure: example.com"))
    data = DataDirectory(tmp_path)
    with pytest.raises(
        ConfigurationError, match=r"validation\.unbound_include: domain-insecure: example\.com"
    ):
        async with eyes.opened(
            Settings(ca=Ca(rules=Rules.PUBLIC), validation=validation), data, "one", SystemRandomness()
        ):
            pass
    with caplog.at_level(logging.WARNING):
        async with eyes.opened(Settings(validation=validation), data, "one", SystemRandomness()):
            pass
    assert "private rules allow a resolver that public rules refuse" in caplog.text
    assert "domain-insecure" in caplog.text


@pytest.mark.parametrize("rules", Rules)
def test_what_unbound_cannot_read_is_refused_under_all_rules_and_names_the_operators_file(
    world: World, tmp_path: Path, rules: Rules
) -> None:
    include = loosened(world, tmp_path, "no-such-option: yes")
    settings = Settings(ca=Ca(rules=rules), validation=validation_in(world, include=include))
    with pytest.raises(ConfigurationError, match=rf"unbound_include: Unbound cannot read {include}: unknown"):
        eyes.check(settings)
    missing = Validation(resolvers=("127.0.0.1:5300",), resolver_config="/nonexistent")
    with pytest.raises(ConfigurationError, match=r"resolver_config: cannot read /nonexistent .*mend it"):
        eyes.check(Settings(ca=Ca(rules=rules), validation=missing))


@pytest.mark.parametrize("resolver", ["dns.example", "127.0.0.1:99999"])
def test_a_resolver_that_is_no_address_is_told_before_the_start(resolver: str) -> None:
    with pytest.raises(ConfigurationError, match=r"validation\.resolvers: .*write 127\.0\.0\.1:53"):
        eyes.check(Settings(validation=Validation(resolvers=(resolver,))))


async def test_the_resolver_that_somebody_else_runs_is_examined_too(world: World, tmp_path: Path) -> None:
    file = tmp_path / "unbound.conf"
    file.write_text(configuration(instance(tmp_path)) + "server:\n  val-permissive-mode: yes\n")
    settings = Settings(
        ca=Ca(rules=Rules.PUBLIC),
        validation=Validation(resolvers=("127.0.0.1:5300",), resolver_config=str(file)),
    )
    with pytest.raises(ConfigurationError, match=r"validation\.resolver_config: val-permissive-mode"):
        async with eyes.opened(settings, DataDirectory(tmp_path), "one", SystemRandomness()):
            pass
    with pytest.raises(ConfigurationError, match="val-permissive-mode"):
        eyes.check(settings)
    file.write_text(configuration(instance(tmp_path)))
    async with eyes.opened(settings, DataDirectory(tmp_path), "one", SystemRandomness()) as resolver:
        assert str(resolver) == "127.0.0.1:5300"


async def test_without_a_configuration_the_log_says_that_nobody_has_examined_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(validation=Validation(resolvers=("192.0.2.53",)))
    async with eyes.opened(settings, DataDirectory(tmp_path), "one", SystemRandomness()):
        pass
    assert "192.0.2.53:53; whether that validates DNSSEC nobody has examined" in caplog.text
