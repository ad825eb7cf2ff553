"""Of promoted bundles the newest keep their weights, whatever is used keeps them, and what each was stays known."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from core.experiments import RECORD as EXPERIMENTS
from core.experiments import BundlePlace, Experiment, ExperimentError, Pin, Variant, now, set_pin, start, stop
from core.layout import Layout
from core.promotions import RECORD, Version, known_versions, list_versions, model_folder, read_standing
from flows.errors import NothingInService
from flows.params import PipelineParams
from flows.promotion import model_store
from flows.promotion.champion import is_withdrawn
from flows.promotion.model_store import erase_versions, promote, prune_versions, roll_back
from flows.pruning import pruned
from recommender.bundle.manifest import read_manifest, verify_files
from recommender.errors import BundleError
from tests.unit.flows.promotion.written_bundle import write_bundle

STORE = "sommelier-vineyard"
Put = Callable[..., list[Version]]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Promotes bundles of these digests, each judged as `judged-…`; their versions."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    made = iter(range(10_000))

    def put(*digests: str) -> list[Version]:
        folders = [write_bundle(tmp_path / "made" / str(next(made)), digest) for digest in digests]
        return [
            promote(folder, STORE, {"digest": digest, "judged": f"judged-{digest}"})
            for folder, digest in zip(folders, digests, strict=True)
        ]

    return put


def whole() -> list[str]:
    """The digests of the versions that can be loaded, newest first."""
    for version in list_versions(STORE):
        verify_files(version.folder, read_manifest(version.folder))
    return [version.digest for version in list_versions(STORE)]


def digests(versions: list[str]) -> set[str]:
    return {version.digest for version in known_versions(STORE) if version.version in versions}


def experiment(version: Version) -> Experiment:
    place = BundlePlace(version=version.version, digest=version.digest)
    variants = (Variant(name="old", bundle=place, share=0.1),)
    generation = read_standing(STORE).generation
    return Experiment(name="try", kind="split", variants=variants, started_at=now(), generation=generation)


def pin(version: Version) -> Pin:
    return Pin(version=version.version, digest=version.digest, at=now(), generation=read_standing(STORE).generation)


def test_the_newest_stay_and_of_older_ones_what_they_were(put: Put) -> None:
    old = put("a", "b", "c", "d", "e")
    assert whole() == ["e", "d", "c", "b", "a"]  # this process has seen them whole
    assert digests(prune_versions(STORE, 3)) == {"a", "b"}
    assert whole() == ["e", "d", "c"]
    assert list(read_standing(STORE).good) == ["e", "d", "c"]
    assert [version.digest for version in known_versions(STORE)] == ["e", "d", "c", "b", "a"]
    assert {path.name for path in old[0].folder.iterdir()} == {"manifest.json", "model.yaml"}
    assert read_manifest(old[0].folder).digest == "a"
    assert prune_versions(STORE, 3) == []
    with pytest.raises(NothingInService, match=f"version={old[0].version}, which was pruned"):
        roll_back(STORE, old[0].version)
    with pytest.raises(NothingInService, match="steps=3, expected at most 2"):
        roll_back(STORE, steps=3)
    assert roll_back(STORE, steps=2).digest == "c"
    put("f")
    assert read_standing(STORE).in_service.digest == "f"
    assert [one.version for one in read_standing(STORE).pruned] == [old[0].version, old[1].version]


def test_where_nothing_was_promoted_nothing_is_made(put: Put) -> None:
    assert prune_versions(STORE, 2) == []
    assert not model_folder(STORE).exists()


def test_what_is_pinned_or_answers_in_an_experiment_stays_and_keeps_no_other(put: Put) -> None:
    a, b, *_ = put("a", "b", "c", "d", "e")
    set_pin(STORE, pin(a))
    start(STORE, experiment(b))
    assert digests(prune_versions(STORE, 2)) == {"c"}
    assert whole() == ["e", "d", "b", "a"]
    stop(STORE, "try")
    set_pin(STORE, None)
    assert digests(prune_versions(STORE, 2)) == {"a", "b"}


def test_what_was_pruned_is_neither_pinned_nor_tried_any_more(put: Put) -> None:
    a, *_ = put("a", "b", "c")
    chosen, tried = pin(a), experiment(a)  # somebody looked before, and says so after
    prune_versions(STORE, 2)
    with pytest.raises(ExperimentError, match=f"version={a.version}, which was pruned"):
        set_pin(STORE, chosen)
    with pytest.raises(ExperimentError, match=f"version={a.version}, which was pruned"):
        start(STORE, tried)
    assert not (model_folder(STORE) / EXPERIMENTS).exists()


def test_of_what_was_withdrawn_it_stays_known_that_it_was(put: Put) -> None:
    put("a", "b", "bad")
    roll_back(STORE)
    assert prune_versions(STORE, 2) == []  # it may be promoted again by hand
    put("c")
    assert digests(prune_versions(STORE, 2)) == {"a", "bad"}
    standing = read_standing(STORE)
    assert is_withdrawn("bad", standing)
    assert is_withdrawn("judged-bad", standing)
    assert not is_withdrawn("judged-a", standing)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_rollback_by_mistake_can_be_taken_back(put: Put, steps: int) -> None:
    *_, last = put("a", "b", "c", "d")
    roll_back(STORE, steps=steps)
    assert prune_versions(STORE, 4) == []
    assert roll_back(STORE, last.version).digest == "d"
    assert whole() == ["d", "c", "b", "a"]


def test_what_a_rollback_withdrew_is_kept_where_it_leaves_one_bundle(put: Put) -> None:
    _, b = put("a", "b")
    roll_back(STORE)
    assert list(read_standing(STORE).good) == ["a"]
    assert prune_versions(STORE, 10) == []
    put("c", "d")
    assert digests(prune_versions(STORE, 2)) == {"b", "a"}
    with pytest.raises(NothingInService, match=f"version={b.version}, which was pruned"):
        roll_back(STORE, b.version)


@pytest.mark.parametrize("n_good", [2, 6])
def test_a_shop_that_lives_long_keeps_so_many_however_often_it_rolls_back(put: Put, n_good: int) -> None:
    """Each day after the good ones is withdrawn, so that a rollback can still go back to the first."""
    kept = 2
    for day in range(6):
        put(f"d{day}")
        if day >= n_good:
            roll_back(STORE)
        prune_versions(STORE, kept)
        assert {f"d{day}", *list(read_standing(STORE).good)[:kept]} <= set(whole())
        assert len(whole()) <= 2 * kept


def test_a_damaged_bundle_counts_for_none_that_is_kept(put: Put) -> None:
    *_, d = put("a", "b", "c", "d")
    (d.folder / "content").unlink()
    assert digests(prune_versions(STORE, 2)) == {"a"}
    assert whole() == ["c", "b"]
    assert read_standing(STORE).in_service.version == d.version


def test_what_a_killed_process_began_the_next_one_ends(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    a, *_ = put("a", "b", "c")

    def killed(place: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model_store, "_remove_weights", killed)
        with pytest.raises(KeyboardInterrupt):
            prune_versions(STORE, 2)
    assert (a.folder / "content").exists()
    assert list(read_standing(STORE).good) == ["c", "b"]
    assert prune_versions(STORE, 2) == []
    assert not (a.folder / "content").exists()


def test_forgetting_reaches_what_is_left_of_a_pruned_bundle(put: Put) -> None:
    a, *_ = put("a", "b", "c")
    prune_versions(STORE, 2)
    assert erase_versions(STORE, {a.version: "a"}, now()) == 1
    assert not a.folder.exists()
    standing = read_standing(STORE)
    assert ([one.version for one in standing.erased], [one.version for one in standing.pruned]) == (
        [a.version],
        [a.version],
    )
    assert prune_versions(STORE, 2) == []


def test_a_store_from_before_there_was_a_record_is_pruned_too(put: Put) -> None:
    put("a", "b", "c")
    (model_folder(STORE) / RECORD).unlink()
    assert digests(prune_versions(STORE, 2)) == {"a"}
    assert list(read_standing(STORE).good) == ["c", "b"]


def test_a_record_from_before_anything_was_pruned_is_read(put: Put) -> None:
    put("a")
    assert json.loads((model_folder(STORE) / RECORD).read_text()).keys() == {"changes"}
    assert read_standing(STORE).pruned == ()


def test_whoever_loads_what_may_be_served_never_finds_it_gone(put: Put) -> None:
    """As a worker does it: read the record, take the one in service or the one before, load it whole."""
    kept, problems, loaded, is_over = 3, [], [0], threading.Event()
    put("first", "second")

    def load() -> None:
        while not is_over.is_set():
            for version in list(read_standing(STORE).good.values())[:2]:
                folder = model_folder(STORE) / version
                try:
                    verify_files(folder, read_manifest(folder))
                    loaded[0] += 1
                except BundleError as error:
                    # A reader that slept meanwhile may be late, if so much was promoted since.
                    if version in list(read_standing(STORE).good.values())[:kept]:
                        problems.append(str(error))

    readers = [threading.Thread(target=load) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(25):
        put(f"d{number}")
        prune_versions(STORE, kept)
        if number % 5 == 4:
            roll_back(STORE)
            prune_versions(STORE, kept)
    is_over.set()
    for reader in readers:
        reader.join()
    assert problems == []
    assert loaded[0] > 25
    assert len(whole()) <= kept + 1


def test_a_flow_prunes_as_the_settings_say_and_not_where_a_record_is_damaged(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SOMMELIER_WORK_DIR", str(tmp_path / "work"))
    monkeypatch.setenv("SOMMELIER_PLATFORM__KEPT_BUNDLES", "2")
    assert Layout(tmp_path, "vineyard").model_name == STORE
    put("a", "b", "c")
    (model_folder(STORE) / EXPERIMENTS).write_text("{")
    pruned(_nothing)(PipelineParams(shop="vineyard"))
    assert whole() == ["c", "b", "a"]
    assert "No promoted bundle is pruned" in caplog.text
    (model_folder(STORE) / EXPERIMENTS).unlink()
    pruned(_nothing)(PipelineParams(shop="vineyard"))
    assert whole() == ["c", "b"]


def test_a_version_that_is_gone_whole_is_no_longer_known(put: Put) -> None:
    a, *_ = put("a", "b")
    shutil.rmtree(a.folder)
    assert [version.digest for version in known_versions(STORE)] == ["b"]


def _nothing(params: PipelineParams) -> None:
    """A flow without work."""
