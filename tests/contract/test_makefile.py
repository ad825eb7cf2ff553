"""What targets of the Makefile say and how they end, with stand-ins for the programs that they run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def make(target: str, programs: Path, *given: str) -> subprocess.CompletedProcess[str]:
    """Run a target with programs of a folder, as if the environment were made."""
    command = ["make", "--file", str(ROOT / "Makefile"), "--assume-old=env", target, f"BIN={programs}", *given]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("prints", "code", "says"),
    [
        ("No known vulnerabilities found", 0, ""),
        ("Found 1 known vulnerability in 1 package", 1, "these vulnerabilities are known"),
        ("Found 3 known vulnerabilities in 2 packages", 1, "these vulnerabilities are known"),
        ("ERROR:pip_audit._cli:a2wsgi: Dependency not found on PyPI and could not be audited", 1, "nothing is known"),
        ("requests.exceptions.ConnectionError: Failed to resolve 'pypi.org'", 1, "nothing is known"),
    ],
)
def test_an_audit_passes_only_where_all_is_known_and_says_why_not(
    tmp_path: Path, prints: str, code: int, says: str
) -> None:
    stand_in = tmp_path / "pip-audit"
    stand_in.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho "{prints}" >&2\nexit {code}\n')
    stand_in.chmod(0o755)
    done = make("audit", tmp_path, "ARGS=--ignore-vuln=PYSEC-1")
    assert (done.returncode == 0) == (code == 0), done.stderr
    assert prints in done.stdout
    assert ("== not passed" in done.stderr, says in done.stderr) == (code != 0, True)
    asked = (tmp_path / "asked").read_text()
    assert "--strict" in asked
    assert "--requirement constraints.txt" in asked
    assert "--ignore-vuln=PYSEC-1" in asked
