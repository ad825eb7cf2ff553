"""What a search shows: the trials as rows, and an end that says how sure it is."""

from flows.tuning.board import describe_end, describe_gain, setting_rows, trial_rows
from recommender.tuning.search import TrialRecord
from recommender.tuning.trial_evaluation import Gain

GIVEN = TrialRecord(0, "complete", {"sequence.dropout": 0.4}, 0.1847, 12.34, "")
BEST = TrialRecord(3, "complete", {"sequence.dropout": 0.25}, 0.19312, 11.0, "")


def gain(low, confirmed):
    return Gain(0.18, 0.19, 0.01, low, 0.02, 500, 2 if confirmed else 1, confirmed)


def test_a_row_says_what_was_tried_and_what_came_out():
    failed = TrialRecord(1, "failed", {"sequence.dropout": 0.9}, None, None, "too wide")
    best, given, failing = trial_rows([BEST, GIVEN, failed], 10)
    assert best == {
        "trial": "trial-003",
        "ndcg_at_10": 0.1931,
        "state": "complete",
        "seconds": 11.0,
        "sequence.dropout": 0.25,
        "note": "",
    }
    assert given["trial"] == "trial-000 (as given)"
    assert (failing["ndcg_at_10"], failing["seconds"], failing["note"]) == ("", "", "too wide")


def test_the_verdict_says_whether_the_gain_is_noise():
    sure = describe_gain(BEST, GIVEN, gain(0.001, confirmed=True), "ndcg_at_10")
    assert "trial-003 reached ndcg_at_10 0.1931 in the search, the recipe as given 0.1847" in sure
    assert "beyond noise: fitted again under 2 seeds that the search did not see" in sure
    assert "+0.0100, 95 % interval +0.0010 to +0.0200 over 500 queries" in sure
    assert "within noise: fitted again" in describe_gain(BEST, GIVEN, gain(-0.001, confirmed=True), "ndcg_at_10")
    assert "flatter" in describe_gain(BEST, GIVEN, gain(0.001, confirmed=False), "ndcg_at_10")
    assert describe_gain(GIVEN, GIVEN, None, "ndcg_at_10").startswith("No trial did better than the recipe as given")


def test_the_end_shows_settings_importance_the_file_and_its_use():
    rows = setting_rows(BEST, GIVEN, {"sequence.dropout": 0.85})
    assert rows == [{"setting": "sequence.dropout", "as given": "0.4", "best": "0.25", "importance": "85%"}]
    assert setting_rows(BEST, GIVEN, {})[0]["importance"] == "–"
    text = describe_end(rows, "It is so.", 'shop = "small"\n', "make run")
    assert "| setting | as given | best | importance |\n| --- | ---: | ---: | ---: |\n| sequence.dropout |" in text
    assert text.endswith('```toml\nshop = "small"\n```\n\n`make run`')
