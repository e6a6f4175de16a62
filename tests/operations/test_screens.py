from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from core.data_directory import DataDirectory
from core.settings import Settings
from operations.isolation import Isolation
from operations.screens import running_screen


def test_the_screen_shows_a_status_command_with_the_settings_of_the_run(tmp_path: Path) -> None:
    options = ["--data", f"{tmp_path}/a data", "--set", 'metrics.listen=["127.0.0.1:1"]']
    screen = running_screen(Settings(), DataDirectory(tmp_path), Isolation("a test"), options)
    [shown] = [part for part in screen.split("\n\n") if " status" in part and "--set" in part]
    program = str(Path(sys.executable).with_name("acme-server"))
    assert program in shown
    said = subprocess.run(
        ["sh", "-c", shown.replace(program, "printf '%s|'")], capture_output=True, text=True, check=True
    )
    assert said.stdout.split("|")[:-1] == ["status", *options]
