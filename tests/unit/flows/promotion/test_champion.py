"""What the bundle in service learned from is asked of the one that serves in its place, where it cannot be read."""

import pytest

from core.promotions import read_standing
from flows.promotion.champion import read_served_manifest
from flows.promotion.model_store import promote
from recommender.errors import BundleError
from tests.unit.flows.promotion.written_bundle import write_bundle


def test_the_manifest_is_that_of_the_newest_bundle_that_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    assert read_served_manifest(read_standing("sommelier-t")) is None
    one, two = (promote(write_bundle(tmp_path / name, name), "sommelier-t", {"digest": name}) for name in "ab")
    assert read_served_manifest(read_standing("sommelier-t")).digest == "b"
    (two.folder / "manifest.json").write_text("{")
    assert read_served_manifest(read_standing("sommelier-t")).digest == "a"
    (one.folder / "manifest.json").unlink()
    with pytest.raises(BundleError, match=f"{two.version}/manifest.json"):
        read_served_manifest(read_standing("sommelier-t"))
