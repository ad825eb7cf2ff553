"""Bundles of a tiny shop, made once for each module of tests."""

import shutil
from pathlib import Path

import pytest

from tests.unit.recommender.bundle.workshop import Workshop


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="module")
def built(workshop) -> Path:
    return workshop.build("bundle")


@pytest.fixture
def bundle(built, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(built, tmp_path / "bundle"))
