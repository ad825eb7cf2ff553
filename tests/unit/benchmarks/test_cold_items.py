"""The cold-start benchmark holds out what it says, and evaluates what was fitted without it."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.cold_items import AMONG_ALL, AMONG_COLD, Among, RandomRanker, evaluate_cold, hold_out, print_results
from benchmarks.harness.models import Fits
from core.settings.models import EncoderSettings
from core.settings.tree import Recipe
from recommender.inputs.ids import IdMap
from recommender.inputs.user import UserState
from tests.unit.recommender.tiny_shop import QUICK, save_tiny_encoder, write_training_set


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    return write_training_set(tmp_path_factory.mktemp("shop") / "strict", n_users=80)


def rows(folder, name):
    return pq.read_table(folder / f"{name}.parquet").to_pylist()


def test_nothing_of_what_is_held_out_is_learned(strict, tmp_path):
    held_out = hold_out(strict, tmp_path / "cold", 0.2, seed=0)
    assert len(held_out.items) == round(24 * 0.2)
    sequences, validation = rows(tmp_path / "cold", "sequences"), rows(tmp_path / "cold", "queries")
    for row in [*sequences, *validation]:
        assert not held_out.items & {*row["history_items"], *row.get("targets", [])}
    assert len(sequences) == 80 - round(80 * 0.2)
    assert {row["split"] for row in validation} == {"validation"}
    assert {row["user_id"] for row in validation} <= {row["user_id"] for row in sequences}
    counts = {row["item_id"]: row["item_n_events"] for row in rows(tmp_path / "cold", "catalogue")}
    assert all((counts[item] == 0) == (item in held_out.items) for item in counts)
    assert sum(counts.values()) == sum(len(row["history_items"]) for row in sequences)


def test_the_questions_are_about_what_is_held_out(strict, tmp_path):
    held_out = hold_out(strict, tmp_path / "cold", 0.2, seed=0)
    for question in (AMONG_COLD, AMONG_ALL):
        asked = held_out.queries[question]
        assert len(asked)
        assert all(targets[0] in held_out.items for targets in asked.targets)
        assert not any(held_out.items & set(user.items) for user in asked.users)
    learned = {tuple(row["history_items"]) for row in rows(tmp_path / "cold", "sequences")}
    assert learned
    assert all(user.is_cold for user in held_out.queries["held-out users, without a history"].users)


def test_another_seed_holds_out_other_items(strict, tmp_path):
    first, again, other = (hold_out(strict, tmp_path / str(n), 0.2, seed).items for n, seed in enumerate((0, 0, 1)))
    assert first == again
    assert first != other


def test_lists_among_some_items_hold_no_others():
    ids = IdMap(("a", "b", "c", "d"))
    scores = Among(RandomRanker(ids, 0), frozenset({"b", "d"})).scores([UserState(), UserState.from_history(["d"])])
    assert np.isfinite(scores).tolist() == [[False, True, False, True], [False, True, False, False]]


def test_every_ranker_is_evaluated_on_every_question(strict, tmp_path, capsys):
    encoder = EncoderSettings(model=str(save_tiny_encoder(tmp_path / "tiny")), precision="float32")
    held_out = hold_out(strict, tmp_path / "cold", 0.2, seed=0)
    fits = Fits(Recipe(encoder=encoder, sequence=QUICK), seed=0, threads=1)
    fitted = fits.fit_bundle(tmp_path / "cold", tmp_path / "fits")
    run = evaluate_cold(fitted.bundle, held_out, 0)
    figures = run[AMONG_COLD].by_model
    assert {*figures} >= {"random", "popularity", "text_encoder", "sequence", "blend"}
    # Among five items every list of ten holds the target.
    assert all(recall == 1 for recall, _ in figures.values())
    print_results([run, run], 0.2)
    shown = capsys.readouterr().out
    assert shown.count("limit: blend") == 4
    assert "held-out users, without a history: 20% held out" in shown
