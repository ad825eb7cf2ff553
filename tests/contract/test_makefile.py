"""What targets of the Makefile say and how they end, with stand-ins for the programs that they run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
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


def make_env(folder: Path, version: tuple[int, int], wheels: str = "") -> subprocess.CompletedProcess[str]:
    """Make the environment with a Python that says another version of itself, and installs nothing."""
    python = folder / "another-python"
    fake = f"import sys; sys.version_info = (*{version}, 0, 'final', 0)"
    python.write_text(
        '#!/bin/sh\ncase "$1" in\n'
        f'-c) exec {sys.executable} -c "{fake}\n$2" ;;\n'
        '-m) mkdir -p "$3/bin" && for one in python uv; do echo "#!/bin/sh" > "$3/bin/$one"; chmod +x "$3/bin/$one"; '
        "done ;;\nesac\n"
    )
    python.chmod(0o755)
    stated = {"VENV": str(folder / "env"), "PYTHON": str(python)}
    command = ["make", "--file", str(ROOT / "Makefile"), "env", *(f"{name}={value}" for name, value in stated.items())]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "UV_"))}
    environment = kept | {"PIP_FIND_LINKS": wheels}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_a_python_that_the_project_does_not_take_is_refused_before_anything_is_installed(
    tmp_path: Path, version: tuple[int, int]
) -> None:
    done = make_env(tmp_path, version)
    assert done.returncode != 0
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    low, high = re.findall(r"[\d.]+", wanted)
    last = f"{high.partition('.')[0]}.{int(high.partition('.')[2]) - 1}"
    told = f"is Python {version[0]}.{version[1]}, expected {low} to {last}. Name another one: make env PYTHON="
    assert told in done.stderr
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize("wheels", ["", "/a/folder"])
def test_that_torch_may_be_large_is_said_before_it_is_fetched(tmp_path: Path, wheels: str) -> None:
    done = make_env(tmp_path, (3, 12), wheels)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "env" / "installed").exists()
    assert ("gigabytes" in done.stdout) is (wheels == "")
