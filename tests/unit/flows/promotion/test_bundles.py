"""Bundles as people name them, put into service by hand, and listed with what became of them."""

import shutil
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from uuid import uuid4

import pytest

from core.layout import Layout
from core.promotions import read_standing, version_in_service
from core.storage import exclusively
from flows.errors import BundleNotFound, BundleRefused, NothingInService
from flows.promotion.bundles import (
    describe_promotion,
    find_bundle,
    find_judged,
    promote_by_hand,
    read_metrics,
    row_in_service,
    version_rows,
)
from flows.promotion.model_store import roll_back
from recommender.bundle.manifest import MANIFEST, SCHEMA_VERSION
from recommender.errors import BundleError, OtherSchemaVersion
from tests.unit.flows.promotion.written_bundle import write_bundle
from tests.unit.recommender.tiny_shop import DATA

METRICS = {"ranking": {"blend": {"ndcg_at_10": 0.25}, "item_knn": {"ndcg_at_10": 0.1}}, "intervals": {}}


@pytest.fixture
def layout(tmp_path):
    """A shop of this test's own, whose name is also that of its bundles in the store."""
    return Layout(tmp_path, f"shop-{uuid4().hex[:8]}")


@pytest.fixture
def candidate(layout):
    """Makes a candidate of the shop."""
    return lambda digest, **fields: write_bundle(layout.bundle(digest), digest, **{"shop": layout.shop} | fields)


def test_a_bundle_is_named_by_folder_digest_version_or_not_at_all(layout, candidate):
    one, two = candidate("aaaa1111"), candidate("bbbb2222")
    assert find_bundle(layout, str(one)) == one
    assert find_bundle(layout, "bbbb2") == two
    version = promote_by_hand(layout, one, "")
    for named in ("", version.version, version.tag):
        assert find_bundle(layout, named) == version.folder


def test_a_baseline_that_could_serve_is_found_by_its_digest(layout):
    folder = write_bundle(layout.baseline_bundle("k"), "cccc3333", shop=layout.shop, kind="item_knn")
    assert find_bundle(layout, "cccc3333") == folder


@pytest.mark.parametrize("named", ["aaaa", "aaa", "zzzz", "somewhere/else"])
def test_a_name_of_no_bundle_or_of_two_is_refused(layout, candidate, named):
    candidate("aaaa1111")
    candidate("aaaa2222")
    with pytest.raises(BundleNotFound, match=f"bundle={named}.*sommelier models list"):
        find_bundle(layout, named)


@pytest.mark.parametrize("n_looks", [1, 2, 3, 4])
def test_a_bundle_that_another_run_prunes_meanwhile_is_left_out(layout, candidate, monkeypatch, n_looks):
    made = {digest: candidate(digest) for digest in ("aaaa1111", "bbbb2222")}
    looks, gone, stat = [], [], Path.stat

    def looked_at(path, **given):
        found = stat(path, **given)
        if path.name == MANIFEST and not gone:
            looks.append(path)
            if len(looks) == n_looks:
                gone.extend(digest for digest, folder in made.items() if folder != path.parent)
                shutil.rmtree(made[gone[0]])
        return found

    monkeypatch.setattr(Path, "stat", looked_at)
    for _ in made:
        assert find_judged(layout, "cccc3333") is None
    found = {digest: find_judged(layout, digest) for digest in made}
    assert found == {digest: None if digest in gone else folder for digest, folder in made.items()}
    assert len(gone) == 1


def test_before_the_first_promotion_no_bundle_is_meant(layout):
    with pytest.raises(NothingInService, match=f"shop={layout.shop}"):
        find_bundle(layout)


def test_a_promotion_by_hand_says_who_and_why(layout, candidate, monkeypatch):
    monkeypatch.setenv("LOGNAME", "ada")
    first = promote_by_hand(layout, candidate("aaaa1111"), "")
    second = promote_by_hand(layout, candidate("bbbb2222", metrics=METRICS), "new items")
    assert version_in_service(layout.model_name) == second
    assert second.labels == {
        "digest": "bbbb2222",
        "kind": "blend",
        "judged": "",
        "learned_until": "2026-05-01T00:00:00+00:00",
        "parent": first.version,
        "metric": "ndcg_at_10",
        "value": "0.2500",
        "promoted_by": "ada",
        "reason": "new items",
    }
    assert promote_by_hand(layout, layout.bundle("bbbb2222"), "again") == second


def test_a_bundle_that_was_withdrawn_or_replaced_is_found_by_its_digest_and_the_answer_says_what_it_was(
    layout, candidate
):
    folders = [candidate(digest) for digest in ("aaaa1111", "bbbb2222", "cccc3333")]
    for folder in folders:
        promote_by_hand(layout, folder, "")
        shutil.rmtree(folder)  # candidates are pruned
    roll_back(layout.model_name)

    def promote(digest, reason=""):
        before = read_standing(layout.model_name)
        return describe_promotion(before, promote_by_hand(layout, find_bundle(layout, digest), reason), reason)

    assert promote("bbbb")[0].startswith("in service already: ")
    assert promote("bbbb", "again")[1] == "the reason is not kept: it belongs to a change"
    [replaced] = promote("aaaa1")
    assert replaced.startswith("in service: ")
    assert "digest aaaa1111" in replaced
    assert promote("cccc")[1] == "a rollback had withdrawn it; it is not withdrawn any more"
    assert version_in_service(layout.model_name).digest == "cccc3333"


def test_the_figure_of_a_baseline_is_its_own(layout, candidate):
    version = promote_by_hand(layout, candidate("aaaa1111", kind="item_knn", metrics=METRICS), "")
    assert version.labels["value"] == "0.1000"


def test_what_must_not_serve_is_refused_and_nothing_changes(layout, candidate):
    damaged, old = candidate("aaaa1111"), candidate("bbbb2222", schema_version=SCHEMA_VERSION - 1)
    (damaged / "content").write_text("changed")
    with pytest.raises(BundleError, match="content="):
        promote_by_hand(layout, damaged, "")
    with pytest.raises(OtherSchemaVersion, match=f"schema_version={SCHEMA_VERSION - 1}, expected {SCHEMA_VERSION}"):
        promote_by_hand(layout, old, "")
    with pytest.raises(BundleRefused, match=f"shop=another, expected {layout.shop}"):
        promote_by_hand(layout, candidate("cccc3333", shop="another"), "")
    assert version_in_service(layout.model_name) is None


def test_the_list_says_what_became_of_each_version(layout, candidate, monkeypatch):
    monkeypatch.setenv("LOGNAME", "ada")
    assert version_rows(layout.model_name) == []
    first = promote_by_hand(layout, candidate("aaaa1111", metrics=METRICS), "")
    promote_by_hand(layout, candidate("bbbb2222", kind="item_knn"), "a try")
    roll_back(layout.model_name, "", "complaints")
    rows = version_rows(layout.model_name)
    assert [(row["state"], row["digest"], row["kind"], row["value"], row["note"]) for row in rows] == [
        ("withdrawn", "bbbb2222", "item_knn", "", "withdrawn: complaints"),
        ("in service", "aaaa1111", "blend", "0.2500", "back by a rollback: complaints"),
    ]
    assert row_in_service(layout.model_name) == rows[1]
    assert rows[1]["version"] == first.version


def test_the_list_says_until_when_a_bundle_learned_and_of_which_its_figure_is(layout, candidate):
    data = DATA.model_copy(update={"learned_until": DATA.last_event_at})
    promote_by_hand(layout, candidate("aaaa1111", metrics=METRICS), "")
    promote_by_hand(layout, candidate("bbbb2222", data=data, judged="aaaa1111", metrics=METRICS), "")
    assert [(row["learned_until"], row["judged"]) for row in version_rows(layout.model_name)] == [
        ("2026-06-30T00:00", "aaaa1111"),
        ("2026-05-01T00:00", ""),
    ]


def test_a_bundle_that_is_damaged_in_service_is_promoted_again(layout, candidate):
    first = promote_by_hand(layout, candidate("aaaa1111"), "")
    (first.folder / "content").write_text("damaged")
    again = promote_by_hand(layout, layout.bundle("aaaa1111"), "")
    assert again.version != first.version
    assert version_in_service(layout.model_name) == again


def test_a_bundle_without_an_evaluation_has_nothing_to_show(candidate):
    with pytest.raises(BundleRefused, match=r"metrics=\['ndcg_at_10'\]"):
        read_metrics(candidate("aaaa1111", metrics={"ndcg_at_10": 0.5}))
    assert read_metrics(candidate("bbbb2222", metrics=METRICS)).metrics == METRICS


def test_nothing_is_promoted_while_a_person_is_removed(layout, candidate):
    """What is promoted meanwhile would be missing among the bundles that learned from them."""
    folder = candidate("aaaa1111")
    with ThreadPoolExecutor() as pool:
        with exclusively(layout.data_lock):
            promoting = pool.submit(promote_by_hand, layout, folder, "")
            wait([promoting], timeout=0.5)
            assert not promoting.done()
            assert version_in_service(layout.model_name) is None
            shutil.rmtree(folder)
        with pytest.raises(BundleError, match="readable JSON"):
            promoting.result()
    assert version_in_service(layout.model_name) is None
