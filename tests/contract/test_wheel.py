"""The wheel holds every module and every file that the code reads, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from shutil import copy
from zipfile import ZipFile

import pytest

from tests.contract.documents import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = sorted({name.partition(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]})


def committed(*folders: str) -> Iterator[Path]:
    """The files of folders, but what running the code leaves there, and settings of whoever runs the containers."""
    for folder in folders:
        files = (file.relative_to(ROOT) for file in (ROOT / folder).rglob("*") if file.is_file())
        yield from (file for file in files if "__pycache__" not in file.parts and file.name != "sommelier.env")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make check-wheel` builds it, but without a package index and of a copy, which a build writes into."""
    tree = tmp_path_factory.mktemp("tree")
    for file in (*committed(*PACKAGES), *(Path(name) for name in ("pyproject.toml", "README.md", "LICENSE"))):
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / file, tree / file)
    (tree / "deployments" / "sommelier.env").write_text("SOMMELIER_SHOP=own\n")  # which is not packed
    uv = str(Path(sys.executable).with_name("uv"))
    build = [uv, "build", "--wheel", "--offline", "--no-build-isolation", "--python", sys.executable]
    ran = subprocess.run([*build, "--out-dir", tree / "dist", tree], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    (file,) = (tree / "dist").glob("*.whl")
    return file


def test_it_has_every_file_of_the_packages(wheel: Path):
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {"deployments/prefect.yaml", "serving/web/assets/status.html.j2", "core/py.typed"} <= packed
    assert packed == {str(file) for file in committed(*PACKAGES)}


def test_it_carries_the_licence_and_the_command(wheel: Path):
    with ZipFile(wheel) as archive:
        names = {Path(name).name: name for name in archive.namelist() if ".dist-info/" in name}
        assert archive.read(names["LICENSE"]) == (ROOT / "LICENSE").read_bytes()
        assert "sommelier = cli.main:main" in archive.read(names["entry_points.txt"]).decode()
