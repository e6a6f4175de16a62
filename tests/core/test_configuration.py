from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.configuration import keys, load
from core.errors import ConfigurationError
from core.settings import Perspective, Profile, Rules, Settings

CONFIG = Path(__file__).parents[2] / "config.toml"
PRESETS = sorted((CONFIG.parent / "deploy").glob("*.toml"))


def written(directory: Path, text: str) -> Path:
    path = directory / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(directory: Path, text: str = "", *overrides: str) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load(written(directory, text), overrides)
    return str(raised.value)


def test_without_a_file_every_setting_has_its_default() -> None:
    assert load(None) == Settings()


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert load(written(tmp_path, "")) == Settings()


def test_the_shipped_file_says_exactly_the_defaults() -> None:
    assert load(CONFIG) == Settings()


def test_the_shipped_file_shows_every_setting_under_a_comment() -> None:
    shown = set()
    section = ""
    commented = ""
    for line in CONFIG.read_text(encoding="utf-8").splitlines():
        if not line:
            commented = ""
        elif line.startswith("#"):
            commented += line
        elif line.startswith("["):
            section = re.sub(r"profiles\.\w+", "profiles.NAME", line.strip("[]"))
        else:
            key = f"{section}.{line.split(' = ')[0]}"
            shown_before = key in shown and section == "profiles.NAME"
            assert commented or shown_before or section == "validation.perspectives", f"{key} has no comment"
            # Tables that are none by default have their members in the comment.
            members = {each for each in keys() if each.startswith(f"{key}.")}
            assert all(each.rsplit(".", 1)[1] in commented for each in members), key
            shown |= members or {key}
    assert shown == set(keys())


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.name)
def test_every_preset_loads(preset: Path) -> None:
    load(preset)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("[acme]\nbase_ulr = 'x'", "acme.base_url"),
        ("[acmee]\nbase_url = 'x'", "[acme]"),
        ("[acme]\nhttp_port = 80", "validation.http_port"),
        ("http_port = 80", "http_port"),
        ("[profiles.tlsserver]\nvalidty = 1", "profiles.NAME.validity"),
        ("[[validation.perspectives]]\nregoin = 'APNIC'", "validation.perspectives.region"),
        ("[zzz]\nq = 1", "."),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_is_named(tmp_path: Path, text: str, near: str) -> None:
    message = refused(tmp_path, text)
    assert "config.toml: there is no setting" in message
    assert near in message.partition("the nearest is ")[2]


def test_an_unknown_override_is_refused_and_the_nearest_is_named(tmp_path: Path) -> None:
    assert "the nearest is status.crl_shards" in refused(tmp_path, "", "status.crl_shard=2")
    assert "the nearest is ca.rules" in refused(tmp_path, "", "ca.rule=public")
    assert "section.key=value" in refused(tmp_path, "", "ca.rules")
    assert "no setting ca.rules.x" in refused(tmp_path, "", "ca.rules.x=1")


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("acme.poll_interval=7", "acme", "poll_interval", 7),
        ("deployment.isolate=false", "deployment", "isolate", False),
        ("acme.base_url=https://ca.example.org:8443", "acme", "base_url", "https://ca.example.org:8443"),
        ('acme.base_url="https://ca.example.org"', "acme", "base_url", "https://ca.example.org"),
        ("ca.terms_version=2", "ca", "terms_version", "2"),
        ("ca.organization=日本 CA = 1", "ca", "organization", "日本 CA = 1"),
        ('acme.listen=["127.0.0.1:0", "[::1]:0"]', "acme", "listen", ("127.0.0.1:0", "[::1]:0")),
        ("acme.listen=127.0.0.1:0,[::1]:0", "acme", "listen", ("127.0.0.1:0", "[::1]:0")),
        ("metrics.listen=", "metrics", "listen", ()),
        ("ca.local_names=[]", "ca", "local_names", ()),
        ("ca.rules=private", "ca", "rules", Rules.PRIVATE),
        ("profiles.tlsserver.validity=86400", "profiles", "tlsserver", Profile(validity=86400)),
        ("profiles.short.ocsp=false", "profiles", "short", Profile(ocsp=False)),
        (
            'validation.perspectives=[{"code": "a", "region": "ARIN", "latitude": 1, "longitude": 2.5}]',
            "validation",
            "perspectives",
            (Perspective("a", "ARIN", 1.0, 2.5),),
        ),
        (
            'validation.perspectives=[{code = "a"}]',
            "validation",
            "perspectives",
            (Perspective("a"),),
        ),
    ],
)
def test_an_override_turns_one_setting(override: str, section: str, key: str, value: Any) -> None:
    found = getattr(load(None, [override]), section)
    assert (found[key] if isinstance(found, dict) else getattr(found, key)) == value


def test_the_last_override_wins_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[acme]\npoll_interval = 5\n")
    assert load(path).acme.poll_interval == 5
    assert load(path, ["acme.poll_interval=6", "acme.poll_interval=7"]).acme.poll_interval == 7


def test_a_file_with_profiles_lists_all_of_them_and_an_override_adds_to_them(tmp_path: Path) -> None:
    path = written(tmp_path, "[profiles.short]\nvalidity = 518400\n")
    assert list(load(path).profiles) == ["short"]
    assert sorted(load(path, ["profiles.long.validity=7776000"]).profiles) == ["long", "short"]
    found = load(None, ["profiles.short.validity=518400"]).profiles
    assert list(found) == ["tlsserver", "ip", "shortlived", "short"]


def test_a_section_of_a_shipped_profile_keeps_the_defaults_that_it_leaves_out(tmp_path: Path) -> None:
    path = written(tmp_path, "[profiles.shortlived]\nvalidity = 86400\n")
    assert load(path).profiles == {"shortlived": replace(Settings().profiles["shortlived"], validity=86400)}
    assert load(path, ["profiles.shortlived.crl=true"]).profiles["shortlived"].crl
    assert "profiles: " in refused(tmp_path, "profiles = 3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[acme]\npoll_interval = 'soon'", r"acme\.poll_interval: expected `int`"),
        ("[ca]\nrules = 'strict'", r"ca\.rules: invalid enum value 'strict'"),
        ("acme = 3", r"acme must be a section"),
        ("[acme", r"not TOML"),
        ("[profiles.a]\nvalidity = 'x'", r"profiles\.NAME\.validity: expected `int`"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_its_key(tmp_path: Path, text: str, said: str) -> None:
    assert re.search(said, refused(tmp_path, text))


def test_a_file_that_cannot_be_read_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml"):
        load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"[ca]\norganization = '\xe9'")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        load(tmp_path / "latin.toml")
