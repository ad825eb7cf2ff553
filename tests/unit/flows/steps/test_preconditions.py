"""What a recipe cannot have is said before anything is fitted, or read."""

from __future__ import annotations

import inspect
import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from core import schema
from core.errors import SettingsError, SommelierError
from core.settings.models import (
    CrossEncoderSettings,
    GenerativeSettings,
    LanguageModelWriterSettings,
    ModalitySettings,
    SequenceSettings,
    SmallWriterSettings,
)
from core.settings.reranking import RerankSettings
from core.settings.tree import Recipe
from flows import fine_tune, pipeline, tune
from flows.steps import bundles
from flows.steps.preconditions import check_recipe, check_shop
from recommender.errors import RerankError, TrainingDataError
from recommender.scoring.training import MIN_TRAIN_PAIRS
from recommender.writing.training import MIN_TRAIN_REVIEWS
from tests.unit.recommender.tiny_language_models import write_llama
from tests.unit.recommender.tiny_shop import save_tiny_encoder, write, write_training_set


def write_shop(
    folder: Path, n_reviews: int = 0, n_pairs: int = 0, split: str = "train", text: str = "A fine tea."
) -> Path:
    """A training set with so many reviews and ratings, in one window; one more of each in another."""
    write_training_set(folder)
    other = "validation" if split == "train" else "train"
    row = {"user_id": "u0", "item_id": "i00", "rating": 4.0, "history_items": [], "history_values": []}
    for table, n in (("reviews", n_reviews), ("pairs", n_pairs)):
        own: dict[str, Any] = {field.name: 0 for field in schema.TRAINING_TABLES[table] if not field.nullable}
        own |= row | ({"text": text} if table == "reviews" else {})
        write(folder, table, [{**own, "split": one} for one in (*[split] * n, other)])
    return folder


def test_the_recipe_as_it_comes_is_accepted(tmp_path: Path) -> None:
    check_recipe(Recipe())
    check_shop(Recipe(), write_shop(tmp_path))


def test_a_shop_where_nobody_has_two_items_before_validation_is_refused_before_the_first_fit(tmp_path: Path) -> None:
    training = write_shop(tmp_path)
    rows = pq.read_table(training / "sequences.parquet").to_pylist()
    alone = [{**row, "history_items": row["history_items"][:1], "history_values": [None]} for row in rows]
    write(training, "sequences", alone)
    with pytest.raises(TrainingDataError, match="sequences with two known items=0 of 40, expected at least 1"):
        check_shop(Recipe(), training)
    # A second item that the catalogue lacks teaches nothing; one that it has is enough.
    gone = [{**row, "history_items": [*row["history_items"], "gone"], "history_values": [None] * 2} for row in alone]
    write(training, "sequences", gone)
    with pytest.raises(TrainingDataError, match="sequences with two known items=0 of 40"):
        check_shop(Recipe(), training)
    write(training, "sequences", [*gone[:-1], rows[-1]])
    check_shop(Recipe(), training)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"sequence": SequenceSettings(width=20, n_heads=3)}, "sequence model: width=20, n_heads=3"),
        ({"sequence": SequenceSettings(use_ids=False, use_text=False)}, "use_ids=False, use_text=False"),
        ({"generative": GenerativeSettings(width=20, n_heads=3)}, "generative model: width=20, n_heads=3"),
    ],
)
def test_a_model_that_cannot_be_built_is_refused(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        check_recipe(Recipe(**changed))


def test_only_what_is_fitted_is_looked_at() -> None:
    check_recipe(Recipe(generative=GenerativeSettings(enabled=False, width=20, n_heads=3)))
    further = SequenceSettings(use_ids=False, use_text=False)
    check_recipe(Recipe(sequence=further, modality=ModalitySettings(path=Path("vectors.parquet"))))


def test_a_language_model_that_is_not_at_hand_is_named(tmp_path: Path) -> None:
    nowhere, empty = str(tmp_path / "nowhere"), tmp_path / "empty"
    empty.mkdir()
    training = write_shop(tmp_path / "training", n_reviews=MIN_TRAIN_REVIEWS, n_pairs=MIN_TRAIN_PAIRS)
    for recipe, sentence in (
        (Recipe(writer=LanguageModelWriterSettings(model=nowhere)), "model=.*nowhere.*there is no such folder"),
        (Recipe(writer=LanguageModelWriterSettings(model=str(empty))), "Cannot load language model: model=.*empty"),
        (Recipe(scorer=CrossEncoderSettings(model=nowhere)), "model=.*nowhere, expected an existing folder"),
        (Recipe(scorer=CrossEncoderSettings(model=str(empty))), r"recipe\.scorer\.model=.*empty"),
    ):
        check_recipe(recipe)
        with pytest.raises(SommelierError, match=sentence):
            check_shop(recipe, training)


def test_a_language_model_that_cannot_do_what_is_asked_is_refused(tmp_path: Path) -> None:
    writer, encoder = str(write_llama(tmp_path / "llama", chat=False)), str(save_tiny_encoder(tmp_path / "encoder"))
    config = tmp_path / "encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 64}))
    training = write_shop(tmp_path / "training", n_reviews=MIN_TRAIN_REVIEWS, n_pairs=MIN_TRAIN_PAIRS)
    check_shop(Recipe(writer=LanguageModelWriterSettings(model=writer)), training)
    check_shop(Recipe(writer=LanguageModelWriterSettings()), training)
    check_shop(Recipe(scorer=CrossEncoderSettings(model=encoder, max_tokens=16)), training)
    for recipe, sentence in (
        (Recipe(writer=LanguageModelWriterSettings(model=writer, prompt="chat")), "prompt=chat, expected a tokenizer"),
        (Recipe(writer=LanguageModelWriterSettings(model=writer, max_tokens=300)), "max_tokens=300, expected at most"),
        (
            Recipe(scorer=CrossEncoderSettings(model=encoder, max_tokens=65)),
            r"recipe\.scorer\.max_tokens=65, expected at most 64",
        ),
    ):
        with pytest.raises(SommelierError, match=sentence):
            check_shop(recipe, training)


def test_a_shop_is_refused_for_no_writer_or_scorer_that_it_will_not_have(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    without = Recipe(writer=LanguageModelWriterSettings(model=nowhere), scorer=CrossEncoderSettings(model=nowhere))
    few: dict[str, Any] = {"n_reviews": MIN_TRAIN_REVIEWS - 1, "n_pairs": MIN_TRAIN_PAIRS - 1}
    enough: dict[str, Any] = {"n_reviews": MIN_TRAIN_REVIEWS, "n_pairs": MIN_TRAIN_PAIRS}
    for counts in ({}, few, enough | {"split": "test"}):
        check_shop(without, write_shop(tmp_path / "training", **counts))
    # Reviews without words are none.
    check_shop(without, write_shop(tmp_path / "training", n_reviews=MIN_TRAIN_REVIEWS, text="!!!"))
    check_shop(Recipe(writer=SmallWriterSettings(width=20, n_heads=3)), write_shop(tmp_path / "training", **few))
    for counts, recipe, sentence in (
        ({"n_reviews": MIN_TRAIN_REVIEWS}, without, "Cannot load language model: model=.*nowhere"),
        ({"n_pairs": MIN_TRAIN_PAIRS}, without, "model=.*nowhere, expected an existing folder"),
        (
            {"n_reviews": MIN_TRAIN_REVIEWS},
            Recipe(writer=SmallWriterSettings(width=20, n_heads=3)),
            r"width=20, n_heads=3.*recipe\.writer",
        ),
    ):
        with pytest.raises(SommelierError, match=sentence):
            check_shop(recipe, write_shop(tmp_path / "training", **counts))


def test_a_window_that_nobody_can_be_asked_about_is_refused(tmp_path: Path) -> None:
    training = write_shop(tmp_path)
    file = training / "queries.parquet"
    queries = pq.read_table(file)
    cold = pc.equal(pc.list_value_length(queries.column("history_items")), 0)
    for left, sentence in (
        (pc.equal(queries.column("split"), "validation"), "users who take something new in the test window=0"),
        (pc.equal(queries.column("split"), "test"), "users with a history who take something new in the validation"),
    ):
        pq.write_table(queries.filter(left), file)
        with pytest.raises(TrainingDataError, match=sentence):
            check_shop(Recipe(), training)
    pq.write_table(queries.filter(pc.or_(cold, pc.equal(queries.column("split"), "validation"))), file)
    check_shop(Recipe(), training)  # whoever is new can be asked about in the test window


def test_nothing_is_fitted_where_re_ranking_cannot_be_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = SimpleNamespace(folder=write_shop(tmp_path / "training"), key="k")
    fitted: list[str] = []

    class Run:
        recipe = Recipe(rerank=RerankSettings(kind="calibration"))

        def holding_data(self) -> Any:
            return nullcontext()

    monkeypatch.setattr(bundles, "collect_training_set", lambda run, clean: training)
    monkeypatch.setattr(bundles, "fit_components", lambda *_, **__: fitted.append("all") or {})
    monkeypatch.setattr(bundles, "report_starts", lambda *_: None)
    monkeypatch.setattr(bundles, "assemble_candidate", lambda *_, **__: None)
    prepared: Any = SimpleNamespace(fingerprint="", clean=None)
    run: Any = Run()
    with pytest.raises(RerankError, match="items with a category=0"):
        bundles.learn(run, prepared)
    assert fitted == []
    bundles.learn(run, prepared, checks=False)  # somebody is to be forgotten, whatever the recipe says
    assert fitted == ["all"]


@pytest.mark.parametrize(("module", "name"), [(pipeline, "pipeline"), (fine_tune, "fine_tune"), (tune, "tune")])
def test_a_flow_reads_no_data_for_a_recipe_that_cannot_be(
    module: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []
    monkeypatch.setattr(module, "prepare", read.append)
    monkeypatch.setattr(module, "Run", SimpleNamespace(of=lambda params: SimpleNamespace(recipe=params.recipe)))
    for waits in ("remove_waiting", "release_answered"):
        monkeypatch.setattr(module, waits, lambda _: None, raising=False)
    flow = inspect.unwrap(getattr(module, name).fn)
    params = SimpleNamespace(
        shop="small", recipe=Recipe(sequence=SequenceSettings(width=20, n_heads=3)), search=SimpleNamespace(space={})
    )
    with pytest.raises(SettingsError, match="sequence model: width=20, n_heads=3"):
        flow(params)
    assert read == []
