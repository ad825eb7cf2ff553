"""The layout of the packages: small folders, and tests that lie where their modules do."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "recommender", "simulation", "monitoring", "validation", "features", "serving", "flows", "cli")
MOST_MODULES = 17


def modules(*folders: str) -> list[Path]:
    return [
        file.relative_to(ROOT)
        for folder in folders
        for file in (ROOT / folder).rglob("*.py")
        if file.name != "__init__.py"
    ]


def test_no_folder_holds_more_modules_than_a_reader_takes_in():
    counts = Counter(str(module.parent) for module in modules(*PACKAGES, "benchmarks"))
    assert not {folder: n for folder, n in counts.items() if n > MOST_MODULES}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_says_what_it_is(package):
    for folder in {module.parent for module in modules(package)}:
        text = (ROOT / folder / "__init__.py").read_text(encoding="utf-8")
        assert text.startswith('"""'), f"{folder}/__init__.py has no docstring"
        assert len(text.splitlines()) == 1, f"{folder}/__init__.py holds more than a sentence"


def test_unit_tests_mirror_the_packages():
    folders = {str(test.parent.relative_to("tests/unit")) for test in modules("tests/unit")}
    for folder in folders - {"benchmarks"}:
        assert (ROOT / folder).is_dir(), f"tests/unit/{folder} has no package beside it"
