"""The record says what is in service: whole copies alone, one change at a time, what was withdrawn stays withdrawn."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from core.promotions import RECORD, list_versions, model_folder, read_standing, version_in_service
from core.storage import write_json
from flows.errors import BundleRefused, ChampionChanged, NothingInService
from flows.promotion.bundles import version_rows
from flows.promotion.model_store import forbid_bundles, permit_bundle, promote, roll_back
from recommender.bundle.manifest import SCHEMA_VERSION
from recommender.errors import BundleError
from tests.unit.flows.promotion.written_bundle import write_bundle


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The name of a model in a store of its own."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return "sommelier-store"


@pytest.fixture
def bundle(tmp_path):
    """Makes a folder that stands for a bundle with the given content."""
    return lambda content, **fields: write_bundle(tmp_path / content, content, **fields)


@pytest.fixture
def put(store, bundle):
    """Promotes bundles of these contents; their versions, by content."""
    return lambda *contents: {content: promote(bundle(content), store, {"digest": content}) for content in contents}


def in_service(store):
    return version_in_service(store).digest


def write_version(store, version, digest, age_s, **labels):
    """A version as it was written before there was a record: BentoML's own layout, the newest one in service."""
    folder = write_bundle(model_folder(store) / version, digest)
    told = {
        "name": store,
        "version": version,
        "labels": {"digest": digest, **labels},
        "creation_time": (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat(),
    }
    write_json(folder / "model.yaml", told)  # JSON is YAML
    return folder


def change_manifest(folder, **fields):
    told = json.loads((folder / "manifest.json").read_text())
    write_json(folder / "manifest.json", {**told, **fields})


def test_before_the_first_promotion_nothing_is_in_service(store):
    assert version_in_service(store) is None
    assert list_versions(store) == []
    with pytest.raises(NothingInService, match="steps=1, expected at most 0"):
        roll_back(store)
    assert not model_folder(store).exists()


def test_the_newest_promotion_is_in_service_and_bentoml_finds_it(store, put):
    second = put("one", "two")["two"]
    assert version_in_service(store) == second
    assert (second.folder / "content").read_text() == "two"
    assert len(list_versions(store)) == 2
    from bentoml._internal.models import ModelStore

    models = ModelStore(model_folder(store).parent)
    assert str(models.get(f"{store}:latest").tag) == second.tag
    assert len(models.list(store)) == 2
    roll_back(store)
    assert str(models.get(f"{store}:latest").tag) == version_in_service(store).tag != second.tag


def test_a_rollback_puts_the_version_before_in_service_and_keeps_why(store, put):
    put_in = put("one", "two")
    back = roll_back(store, "", "complaints")
    assert version_in_service(store) == back == put_in["one"]
    change = read_standing(store).changes[-1]
    assert (change.action, change.withdrawn, change.reason) == ("rolled back", ("two",), "complaints")
    assert read_standing(store).withdrawn == {"two"}
    assert [one.digest for one in read_standing(store).changes] == ["one", "two", "one"]


def test_rolling_back_twice_goes_two_bundles_back_and_never_to_what_was_withdrawn(store, put):
    put("a", "b", "c")
    assert [roll_back(store).digest for _ in range(2)] == ["b", "a"]
    assert read_standing(store).withdrawn == {"b", "c"}
    with pytest.raises(NothingInService, match="steps=1, expected at most 0"):
        roll_back(store)
    assert in_service(store) == "a"


def test_a_rollback_of_two_steps_withdraws_what_lies_between(store, put):
    put("a", "b", "c")
    assert roll_back(store, steps=2).digest == "a"
    assert read_standing(store).withdrawn == {"b", "c"}
    with pytest.raises(NothingInService, match="steps=2"):
        roll_back(store, steps=2)


def test_steps_count_bundles_not_promotions(store, put, tmp_path):
    put("a", "b")
    promote(tmp_path / "b", store, {"digest": "b"})
    assert len(list_versions(store)) == 3
    assert roll_back(store).digest == "a"


def test_a_rollback_to_a_named_version(store, put):
    put_in = put("a", "b", "c")
    assert roll_back(store, put_in["a"].version).digest == "a"
    assert roll_back(store, put_in["c"].version).digest == "c"  # named, so meant: it is not withdrawn any more
    assert read_standing(store).withdrawn == {"a", "b"}


def test_no_rollback_brings_back_what_learned_from_somebody_forgotten_until_it_is_permitted(store, put):
    second = put("first", "second", "third")["second"]
    forbid_bundles(store, {"second"})
    with pytest.raises(BundleRefused, match="Cannot roll back"):
        roll_back(store, second.version)
    assert in_service(store) == "third"
    roll_back(store)
    assert in_service(store) == "first"
    permit_bundle(store, "second")
    assert roll_back(store, second.version).digest == "second"


def test_a_rollback_to_nowhere_names_the_version(store, put):
    put("one")
    with pytest.raises(NothingInService, match="version=nosuch"):
        roll_back(store, "nosuch")
    with pytest.raises(NothingInService, match="steps=1"):
        roll_back(store)


def test_what_was_withdrawn_and_promoted_again_by_a_person_is_good_again(store, put, tmp_path):
    put("a", "b")
    roll_back(store)
    promote(tmp_path / "b", store, {"digest": "b"})
    assert read_standing(store).withdrawn == frozenset()
    assert roll_back(store).digest == "a"


def test_a_rollback_to_a_bundle_that_cannot_be_loaded_is_refused_and_changes_nothing(store, put):
    put_in = put("one", "two")
    change_manifest(put_in["one"].folder, schema_version=SCHEMA_VERSION - 1)
    old = put_in["one"].version
    with pytest.raises(BundleRefused, match=f"version={old}, schema_version={SCHEMA_VERSION - 1}, expected"):
        roll_back(store, "", "complaints")
    change_manifest(put_in["one"].folder, schema_version=SCHEMA_VERSION)
    (put_in["one"].folder / "content").write_text("damaged")
    with pytest.raises(BundleRefused, match=f"version={old}, content="):
        roll_back(store, "", "complaints")
    assert version_in_service(store) == put_in["two"]


def test_a_damaged_bundle_does_not_enter_the_store(store, put, bundle):
    first = put("one")["one"]
    damaged = bundle("two")
    (damaged / "content").write_text("changed")
    with pytest.raises(BundleError, match="content="):
        promote(damaged, store, {})
    assert version_in_service(store) == first
    assert list_versions(store) == [first]


def test_a_promotion_that_was_decided_on_another_champion_is_refused(store, put, bundle):
    put("a", "b")
    decided = read_standing(store).generation
    roll_back(store)
    with pytest.raises(ChampionChanged, match="rolled back since the gate decided"):
        promote(bundle("c"), store, {"digest": "c"}, generation=decided)
    assert in_service(store) == "a"
    promote(bundle("d"), store, {"digest": "d"}, generation=read_standing(store).generation)
    assert in_service(store) == "d"


def test_of_promotions_that_were_decided_on_one_champion_one_wins(store, put, tmp_path, bundle):
    put("a")
    decided, folders = read_standing(store).generation, [bundle(f"candidate-{n}") for n in range(4)]
    lost = []

    def try_it(folder):
        try:
            promote(folder, store, {"digest": folder.name}, generation=decided)
        except ChampionChanged:
            lost.append(folder.name)

    threads = [threading.Thread(target=try_it, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lost) == 3
    assert len(read_standing(store).changes) == 2
    assert in_service(store) not in lost
    assert len(list_versions(store)) == 2


def test_a_store_without_a_record_has_its_newest_version_in_service_and_then_gets_one(store, put):
    write_version(store, "v1", "a", 30)
    write_version(store, "v2", "b", 20)
    write_version(store, "v3", "a", 10, rolled_back_to="v1", withdrawn_digest="b", reason="complaints")
    assert version_in_service(store).version == "v3"
    assert read_standing(store).withdrawn == {"b"}
    assert not (model_folder(store) / RECORD).exists()
    put("c")
    assert [change.digest for change in read_standing(store).changes] == ["a", "b", "a", "c"]
    assert (model_folder(store) / RECORD).exists()
    assert roll_back(store).version == "v3"


@pytest.mark.parametrize("missing", ["model.yaml", "manifest.json", "content"])
@pytest.mark.parametrize("has_record", [False, True])
def test_readers_pass_over_what_a_killed_copy_left(store, put, missing, has_record):
    whole = write_version(store, "whole", "a", 10)
    if has_record:
        put("b")
    half = write_version(store, "half", "c", 0)
    (half / missing).unlink()
    assert [version.version for version in list_versions(store)][-1] == whole.name
    assert "half" not in {version.version for version in list_versions(store)}
    assert in_service(store) == ("b" if has_record else "a")
    assert "half" not in {row["version"] for row in version_rows(store)}
    put("d")
    assert roll_back(store).digest == ("b" if has_record else "a")


def test_a_cut_model_file_is_no_version(store):
    write_version(store, "whole", "a", 10)
    half = write_version(store, "half", "c", 0)
    text = (half / "model.yaml").read_text()
    for end in range(0, len(text), 7):
        (half / "model.yaml").write_text(text[:end])
        assert version_in_service(store).version == "whole"


def test_what_is_in_service_and_damaged_stays_named(store, put):
    put_in = put("a", "b")
    (put_in["b"].folder / "manifest.json").unlink()
    version = version_in_service(store)
    assert (version.version, version.digest) == (put_in["b"].version, "b")
    assert [row["state"] for row in version_rows(store)] == ["in service", "replaced"]


def test_a_record_that_cannot_be_read_says_so(store, put):
    put("a")
    (model_folder(store) / RECORD).write_text('{"changes": [{}]}')
    with pytest.raises(Exception, match=r"Cannot read which bundle is in service: record=4 wrong fields"):
        version_in_service(store)
