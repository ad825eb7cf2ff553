"""What is installed is what is imported."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_INSTALLED = ("tests", "benchmarks", "docs")
NO_CODE = ("deployments",)


def test_every_package_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = [path.parent.relative_to(ROOT) for path in ROOT.glob("[a-z]*/**/__init__.py")]
    code = {".".join(one.parts) for one in folders if one.parts[0] not in NOT_INSTALLED}
    assert sorted(listed) == sorted({*code, *NO_CODE})
    assert not [file for folder in NO_CODE for file in (ROOT / folder).rglob("*.py")]


def test_every_package_is_marked_as_typed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "py.typed" in settings["package-data"]["*"]
    packages = {name.partition(".")[0] for name in settings["packages"]} - {*NO_CODE}
    assert packages
    assert not [name for name in sorted(packages) if not (ROOT / name / "py.typed").is_file()]


def test_the_licence_is_the_one_that_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    (file,) = project["license-files"]
    assert "Apache License\n                           Version 2.0" in (ROOT / file).read_text()
