"""Reads the configuration file and the `--set` overrides into `Settings`, and refuses what cannot work.

The file is TOML; every setting has a default, so the smallest file is an empty one.  An unknown key or
section is an error that names the nearest known one: a slip must never turn into a default in silence.

Must never: put a secret into a message.  Settings hold the paths of secrets, not secrets.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from core import checks
from core.errors import ConfigurationError
from core.settings import Settings, shipped_profiles

_PROFILES = "profiles"


def load(path: Path | None, overrides: Sequence[str] = ()) -> Settings:
    """The settings of the file (all defaults when None), then of each "section.key=value" in turn.

    A value is TOML (or JSON); what is neither is taken as a string, and as a list split at its commas where
    a list is wanted.  The rules that depend on the date are checked by `core.checks.dated`.

    Raises: `ConfigurationError` naming the key, the nearest known key, and the remedy.
    """
    raw = {} if path is None else _read(path)
    where = "--set" if path is None else str(path)
    # The file's profiles, when it has any, are all the profiles; without them the shipped ones stay, so
    # that `--set profiles.NAME.validity=` can turn one.
    raw.setdefault(_PROFILES, {name: {} for name in shipped_profiles()})
    _refuse_unknown(raw, Settings, "", where)
    for override in overrides:
        _override(raw, override)
    _refuse_unknown(raw, Settings, "", "--set")
    # What a section leaves out of a shipped profile has the default of that profile.
    shipped, written = shipped_profiles(), raw[_PROFILES]
    if isinstance(written, dict):
        raw[_PROFILES] = {
            name: (asdict(shipped[name]) if name in shipped else {}) | each for name, each in written.items()
        }
    settings = _convert(raw)
    checks.undated(settings)
    return settings


def keys() -> list[str]:
    """Every setting as "section.key"; NAME stands for the name of a profile."""
    return sorted(key for key, _ in _leaves(Settings, ""))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}; copy config.toml of the source there"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8: save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals:
        raise ConfigurationError(f"--set {override}: write section.key=value")
    kind = _type_of(key)
    *sections, last = key.split(".")
    table = raw
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigurationError(f"--set {key}: {section} is no section")
    table[last] = _value(text, kind)


def _value(text: str, kind: Any) -> Any:
    """The override's text as TOML or JSON where that fits the setting's type, else as the text it is."""
    value: Any = text
    try:
        table = tomllib.loads(f"value = {text}")
        if set(table) == {"value"}:
            value = table["value"]
    except tomllib.TOMLDecodeError:
        try:
            value = json.loads(text)
        except ValueError:
            value = text
    if kind is str and not isinstance(value, str):
        return text  # --set ca.terms_version=2 means the string
    if typing.get_origin(kind) is tuple and not isinstance(value, list):
        return [part.strip() for part in text.split(",") if part.strip()]
    return value


def _type_of(key: str) -> Any:
    """The type of "section.key".  Raises: `ConfigurationError` when there is no such setting."""
    kind: Any = Settings
    for depth, part in enumerate(key.split(".")):
        if typing.get_origin(kind) is dict:
            kind = typing.get_args(kind)[1]
        elif is_dataclass(kind) and part in (known := _known(kind)):
            kind = known[part]
        else:
            raise _unknown(".".join(key.split(".")[: depth + 1]), "--set")
    return kind


def _refuse_unknown(raw: Any, kind: Any, prefix: str, where: str) -> None:
    """Walk the raw tree beside the types.  Raises: `ConfigurationError` at the first key without a type."""
    origin = typing.get_origin(kind)
    if is_dataclass(kind):
        if not isinstance(raw, dict):
            raise ConfigurationError(f"{where}: {prefix} must be a section: write [{prefix}]")
        known = _known(kind)
        for key, value in raw.items():
            name = f"{prefix}.{key}" if prefix else key
            if key not in known:
                raise _unknown(name, where)
            _refuse_unknown(value, known[key], name, where)
    elif origin is dict and isinstance(raw, dict):
        for key, value in raw.items():
            _refuse_unknown(value, typing.get_args(kind)[1], f"{prefix}.{key}", where)
    elif origin is tuple and isinstance(raw, list):
        for index, value in enumerate(raw):
            _refuse_unknown(value, typing.get_args(kind)[0], f"{prefix}[{index}]", where)


def _unknown(name: str, where: str) -> ConfigurationError:
    return ConfigurationError(f"{where}: there is no setting {name}; the nearest is {_nearest(name)}")


def _nearest(name: str) -> str:
    """The known key or section that a person most likely meant."""
    section, _, last = re.sub(r"\[\d+]", "", name).rpartition(".")
    if section.startswith(f"{_PROFILES}."):
        section = f"{_PROFILES}.NAME"
    known = keys()
    sections = sorted({key.rpartition(".")[0] for key in known})
    if not section:
        near = difflib.get_close_matches(last, sections, n=1, cutoff=0.5)
        return f"the section [{near[0]}]" if near else difflib.get_close_matches(name, known, 1, 0)[0]
    siblings = {key.rpartition(".")[2]: key for key in known if key.rpartition(".")[0] == section}
    elsewhere = [key for key in known if key.rpartition(".")[2] == last]
    close = difflib.get_close_matches(last, siblings, n=1, cutoff=0.6)
    if close:
        return siblings[close[0]]
    return elsewhere[0] if elsewhere else difflib.get_close_matches(name, known, 1, 0)[0]


def _convert(raw: Mapping[str, Any]) -> Settings:
    try:
        return msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `")
        key = path.removeprefix("$.").rstrip("`").replace("[...]", ".NAME") or "the file"
        raise ConfigurationError(f"{key}: {what.lower()}{_choices(key)}") from error


def _choices(key: str) -> str:
    """What can be written there, where a setting is one of a few words."""
    kind = dict(_leaves(Settings, "")).get(key)
    if not (isinstance(kind, type) and issubclass(kind, StrEnum)):
        return ""
    return "; write " + " or ".join(f'"{word}"' for word in kind)


def _known(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _leaves(kind: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """(dotted name, type) of every setting; a list of tables counts by its tables' keys."""
    for name, each in _known(kind).items():
        dotted = f"{prefix}{name}"
        inner = next((arg for arg in typing.get_args(each) if is_dataclass(arg)), None)
        if is_dataclass(each):
            yield from _leaves(each, f"{dotted}.")
        elif inner is not None:
            named = typing.get_origin(each) is dict
            yield from _leaves(inner, f"{dotted}.NAME." if named else f"{dotted}.")
        else:
            yield dotted, each
