"""Feast is imported without typeguard's marks, and nothing else is."""

import subprocess
import sys
from importlib import import_module

import pytest

from features.feast.importing import _unmarked


def test_marks_do_nothing_while_feast_is_imported() -> None:
    typeguard = import_module("typeguard")
    marking = typeguard.typechecked
    with _unmarked():

        @typeguard.typechecked
        def double(number: int) -> int:
            return 2 * number

        @typeguard.typechecked(collection_check_strategy=None)
        def name(text: str) -> str:
            return text

        assert double("a") == "aa"
        assert name(3) == 3
    assert typeguard.typechecked is marking


def test_an_import_that_fails_leaves_typeguard_as_it_was() -> None:
    typeguard = import_module("typeguard")
    marking = typeguard.typechecked
    with pytest.raises(ZeroDivisionError), _unmarked():
        raise ZeroDivisionError
    assert typeguard.typechecked is marking


def test_a_refresh_imports_feast_that_way() -> None:
    program = (
        "from pathlib import Path\n"
        "from core.settings.features import FeatureStoreSettings\n"
        "from features.feast.definitions import define_repository\n"
        "define_repository(Path('.'), FeatureStoreSettings())\n"
        "import feast, feast.infra.offline_stores.duckdb\n"
        "print([one for one in (feast.Entity, feast.FeatureView) if 'typeguard' in one.__init__.__code__.co_names])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
