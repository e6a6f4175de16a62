"""A perspective's own Unbound, in the world and in tests of its configuration."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from core.data_directory import DataDirectory
from core.randomness import SystemRandomness
from core.settings import Settings, Validation
from tests.world.servers import PROGRAM
from tests.world.world import World
from validation.dns import eyes
from validation.dns.anchors import DEFAULT
from validation.dns.own_unbound import OwnUnbound
from validation.dns.unbound import Instance, version

CANARY = {"canary_bogus": "www.tampered-example.com", "canary_signed": "www.example.com"}
"""The names of the world for it."""

INSTALLED = version(subprocess.check_output([PROGRAM, "-V"], text=True))


def instance(directory: Path) -> Instance:
    """As the Internet's would be."""
    return Instance(INSTALLED, directory, "127.0.0.1", 5300, Path(DEFAULT))


def validation_in(world: World, *, include: Path | None = None, **more: Any) -> Validation:
    """The settings of validation with an Unbound of its own in the world."""
    own = world.own_unbound()
    return Validation(
        unbound=own["validation.unbound"],
        unbound_include=str(include or own["validation.unbound_include"]),
        trust_anchor=own["validation.trust_anchor"],
        allowed_networks=("127.0.0.0/8", "::1/128"),
        **more,
    )


def loosened(world: World, directory: Path, option: str) -> Path:
    """An include for the world that has one more option."""
    lab = Path(world.own_unbound()["validation.unbound_include"]).read_text()
    file = directory / "loosened.conf"
    file.write_text(f"{lab}\nserver:\n  {option}\n")
    return file


@asynccontextmanager
async def opened(validation: Validation, directory: Path, code: str = "local") -> AsyncIterator[OwnUnbound]:
    """It, under private rules, running."""
    settings = Settings(validation=validation)
    async with eyes.opened(settings, DataDirectory(directory), code, SystemRandomness()) as resolver:
        assert isinstance(resolver, OwnUnbound)
        yield resolver


def pid_of(data: DataDirectory, code: str) -> int | None:
    """The process id of the Unbound of the perspective `code`, None while there is none."""
    file = str(data.perspective(code) / "unbound" / "unbound.conf").encode()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0] == PROGRAM.encode() and file in words:
                return int(process.name)
    return None
