"""What is installed is what is imported."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_INSTALLED = ("tests", "benchmarks")


def test_every_package_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = [path.parent.relative_to(ROOT) for path in ROOT.glob("[a-z]*/**/__init__.py")]
    assert sorted(listed) == sorted(".".join(one.parts) for one in folders if one.parts[0] not in NOT_INSTALLED)
