"""The store is an append-only record: the newest version is the bundle in service, a rollback appends a copy."""

import re
import shutil

import pytest

from flows.errors import BundleRefused, NothingInService
from flows.promotion.model_store import list_versions, newest_version, promote, roll_back, withdrawn_digests
from recommender.bundle.manifest import SCHEMA_VERSION
from tests.unit.flows.promotion.written_bundle import write_bundle


@pytest.fixture
def bundle(tmp_path):
    """Makes a folder that stands for a bundle with the given content."""
    return lambda content, **fields: write_bundle(tmp_path / content, content, **fields)


def test_before_the_first_promotion_nothing_is_in_service():
    assert newest_version("sommelier-empty") is None
    assert list_versions("sommelier-empty") == []


def test_the_newest_promotion_is_in_service(bundle):
    promote(bundle("one"), "sommelier-store-a", {"digest": "one"})
    second = promote(bundle("two"), "sommelier-store-a", {"digest": "two"})
    assert newest_version("sommelier-store-a") == second
    assert (second.folder / "content").read_text() == "two"
    assert len(list_versions("sommelier-store-a")) == 2


def test_a_rollback_appends_a_copy_of_the_version_before(bundle):
    first = promote(bundle("one"), "sommelier-store-b", {"digest": "one"})
    promote(bundle("two"), "sommelier-store-b", {"digest": "two"})
    back = roll_back("sommelier-store-b", "", "complaints")
    assert newest_version("sommelier-store-b") == back
    assert (back.folder / "content").read_text() == "one"
    assert back.labels["rolled_back_to"] == first.version
    assert back.labels["reason"] == "complaints"
    assert withdrawn_digests("sommelier-store-b") == {"two"}


def test_a_rollback_to_a_named_version(bundle):
    first = promote(bundle("one"), "sommelier-store-c", {"digest": "one"})
    promote(bundle("two"), "sommelier-store-c", {"digest": "two"})
    promote(bundle("three"), "sommelier-store-c", {"digest": "three"})
    assert (roll_back("sommelier-store-c", first.version, "").folder / "content").read_text() == "one"


def test_rollbacks_in_a_row_go_further_back_and_never_to_what_was_withdrawn(bundle):
    for content in ("one", "two", "three"):
        promote(bundle(content), "sommelier-store-f", {"digest": content})
    served = [(roll_back("sommelier-store-f", "", "").folder / "content").read_text() for _ in range(2)]
    assert served == ["two", "one"]
    with pytest.raises(NothingInService, match="not withdrawn before"):
        roll_back("sommelier-store-f", "", "")
    assert withdrawn_digests("sommelier-store-f") == {"two", "three"}


def test_what_is_put_back_by_name_is_no_longer_withdrawn(bundle):
    promote(bundle("one"), "sommelier-store-g", {"digest": "one"})
    second = promote(bundle("two"), "sommelier-store-g", {"digest": "two"})
    roll_back("sommelier-store-g", "", "complaints")
    roll_back("sommelier-store-g", second.version, "it was not the model")
    assert withdrawn_digests("sommelier-store-g") == {"one"}


def test_a_damaged_version_does_not_come_back(bundle):
    first = promote(bundle("one"), "sommelier-store-h", {"digest": "one"})
    newest = promote(bundle("two"), "sommelier-store-h", {"digest": "two"})
    (first.folder / "content").write_text("damaged")
    with pytest.raises(BundleRefused, match=f"version={first.version}, content="):
        roll_back("sommelier-store-h", first.version, "")
    assert newest_version("sommelier-store-h") == newest


def test_a_promotion_that_was_killed_was_never_in_service(bundle):
    first = promote(bundle("one"), "sommelier-store-i", {"digest": "one"})
    second = promote(bundle("two"), "sommelier-store-i", {"digest": "two"})
    store = first.folder.parent
    (store / "begun").mkdir()
    shutil.copytree(second.folder, store / "without_weights")
    (store / "without_weights" / "content").unlink()
    description = store / "without_weights" / "model.yaml"
    description.write_text(
        re.sub("creation_time: .*", "creation_time: '2999-01-01T00:00:00+00:00'", description.read_text())
    )
    assert list_versions("sommelier-store-i") == [second, first]
    third = promote(bundle("three"), "sommelier-store-i", {"digest": "three"})
    assert newest_version("sommelier-store-i") == third


def test_a_rollback_to_nowhere_names_the_version(bundle):
    promote(bundle("one"), "sommelier-store-d", {"digest": "one"})
    with pytest.raises(NothingInService, match="version=nosuch"):
        roll_back("sommelier-store-d", "nosuch", "")
    with pytest.raises(NothingInService, match="version=the one before"):
        roll_back("sommelier-store-d", "", "")


def test_a_rollback_to_a_bundle_of_another_schema_is_refused_and_changes_nothing(bundle):
    old = promote(bundle("one", schema_version=SCHEMA_VERSION - 1), "sommelier-store-e", {"digest": "one"})
    newest = promote(bundle("two"), "sommelier-store-e", {"digest": "two"})
    with pytest.raises(BundleRefused, match=f"version={old.version}, schema_version={SCHEMA_VERSION - 1}, expected"):
        roll_back("sommelier-store-e", "", "complaints")
    assert newest_version("sommelier-store-e") == newest
