"""What CI does with the wheel, with stand-ins for the programs that it runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def write_program(file: Path, script: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the script, whose programs note what they are asked for."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    programs = tmp_path / "programs"
    write_program(programs / "promtool", "exit 0")
    write_program(programs / "make", f'echo "$@" >> {tmp_path}/made')
    passed_on = 'while [ "${1#-}" != "$1" ]; do shift; done\nshift\nexec "$@"'  # what stands behind options and limit
    write_program(programs / "timeout", f'echo "$@" >> {tmp_path}/limited\n{passed_on}')
    write_program(tmp_path / ".venv" / "bin" / "python", f'exec {sys.executable} "$@"')
    return tmp_path


def run_ci(checkout: Path, mirror: str) -> tuple[str, list[str]]:
    """What CI prints, and each call of make; `mirror` is what the package index does."""
    write_program(checkout / ".venv" / "bin" / "uv", f'echo "$UV_FIND_LINKS" "$@" > {checkout}/probed\n{mirror}')
    environment = {name: value for name, value in os.environ.items() if name not in ("UV_FIND_LINKS", "PIP_FIND_LINKS")}
    environment |= {"PATH": f"{checkout / 'programs'}:{os.environ['PATH']}", "PIP_FIND_LINKS": "/wheels"}
    done = subprocess.run(
        ["bash", ".ci/run"], cwd=checkout, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout, (checkout / "made").read_text().splitlines()


def test_the_wheel_is_checked_within_a_limit_and_on_ports_that_are_free(checkout: Path) -> None:
    made = [run_ci(checkout, "exit 0")[1][-1] for _ in range(2)]
    ports = [re.findall(r"--set platform\.(\w+)_port=(\d+)", one) for one in made]
    assert [name for name, _ in ports[0]] == ["prefect", "service", "monitoring", "reports"]
    assert len({port for _, port in ports[0]}) == 4
    assert ports[0] != ports[1]
    limited = (checkout / "limited").read_text().splitlines()
    assert re.match(r"--kill-after=60 \d+ make check-wheel ", limited[-1])


def test_a_mirror_without_all_of_the_wheels_packages_is_said_to_lack_them(checkout: Path) -> None:
    has_httpx_alone = 'for last; do :; done; [ "$last" = httpx ]'
    said, made = run_ci(checkout, has_httpx_alone)
    assert "== SKIPPED: make check-wheel" in said
    assert made == ["test", "test-long"]
    probed = (checkout / "probed").read_text().split()
    assert probed[0] == "/wheels"
    assert {".", "--dry-run", "constraints.txt"} <= set(probed)
