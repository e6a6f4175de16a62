"""The corpus holds, and a short run guided by coverage finds nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

VECTORS = Path(__file__).parents[1] / "vectors" / "fuzz"
SECONDS = 4
CORPUS = [(file.parent.name, file) for file in sorted(VECTORS.glob("*/*"))]


def test_every_target_has_a_corpus() -> None:
    assert {target for target, _ in CORPUS} == set(TARGETS)


@pytest.mark.parametrize(("target", "file"), CORPUS, ids=lambda value: getattr(value, "name", value))
def test_what_stands_in_the_corpus_breaks_no_promise(target: str, file: Path) -> None:
    TARGETS[target](file.read_bytes())


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
def test_a_short_run_finds_nothing(target: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", target, str(tmp_path), f"-max_total_time={SECONDS}"]
    command += ["-max_len=2048", f"-artifact_prefix={tmp_path}/"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 60, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
