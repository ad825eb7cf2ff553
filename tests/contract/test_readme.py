"""The README's commands exist, and it names every kind of source."""

import re
from pathlib import Path
from typing import get_args

from core.settings.source import SOURCE_KINDS, Source

ROOT = Path(__file__).parents[2]


def test_every_make_target_that_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert {"run", "test"} <= named
    assert named <= targets


def test_the_readme_names_every_kind_of_source():
    readme = (ROOT / "README.md").read_text()
    variants = get_args(get_args(Source)[0])
    kinds = [get_args(variant)[0].model_fields["kind"].default for variant in variants]
    assert tuple(kinds) == SOURCE_KINDS
    for kind in kinds:
        assert f"`{kind}`" in readme
