"""What `bentoml build` packs: every module that the service imports, and exactly the packages of a release."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import grimp
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "recommender", "simulation", "monitoring", "validation", "features", "serving", "flows", "cli")
PINNED = ROOT / "deployments" / "requirements.txt"


def test_every_package_that_the_service_imports_is_packed_and_no_other():
    graph = grimp.build_graph(*PACKAGES)
    imported = {module.partition(".")[0] for module in graph.find_upstream_modules("serving", as_package=True)}
    included = yaml.safe_load((ROOT / "bentofile.yaml").read_text())["include"]
    assert {path.strip("/") for path in included} == {"serving", "LICENSE", *imported}


def pins(file: Path) -> dict[str, str]:
    """The version of each package that a file of exact versions names."""
    lines = [line.split("==") for line in file.read_text().splitlines()]
    return {canonicalize_name(name): version for name, version in lines}


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="both files are of Python 3.11; newer ones need less")
def test_the_requirements_are_those_of_the_constraints_that_the_project_needs_to_run():
    """What tools of development alone need is left out. What another build of torch brings is in neither file."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    needed, left = set(), [Requirement(line) for line in wanted]
    seen: set[tuple[str, str]] = set()
    while left:
        one = left.pop()
        name = canonicalize_name(one.name)
        needed.add(name)
        for extra in {"", *one.extras} - {extra for known, extra in seen if known == name}:
            seen.add((name, extra))
            of_it = [Requirement(line) for line in requires(name) or ()]
            left += [deeper for deeper in of_it if deeper.marker is None or deeper.marker.evaluate({"extra": extra})]
    constrained, pinned = pins(ROOT / "constraints.txt"), pins(PINNED)
    assert not needed & constrained.keys() - pinned.keys(), "make constraints writes them anew"
    assert not pinned.keys() - needed, "make constraints writes them anew"
    assert pinned == {name: constrained[name] for name in pinned}


def test_both_are_written_together():
    target = re.search(r"^constraints:.*?\n\n", (ROOT / "Makefile").read_text(), flags=re.MULTILINE | re.DOTALL)
    assert target is not None
    assert {"constraints.txt", "deployments/requirements.txt"} <= set(target[0].split())
