"""The report: everything it shows is in the figures, nothing it needs is elsewhere."""

import html
import json
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest

from core.settings.reranking import RerankSettings
from flows.erasure.contents import names
from flows.erasure.person import Person
from recommender.evaluation.evaluation import evaluate_rankers
from recommender.evaluation.names import name_models
from recommender.evaluation.plots import plot_groups
from recommender.evaluation.report import render, verdict, write_report
from recommender.evaluation.reranking import evaluate_reranking
from recommender.inputs.queries import read_queries
from recommender.metrics.ratings import reliability
from recommender.metrics.significance import Comparison
from recommender.retrieval.popularity import PopularityRanker
from recommender.retrieval.text.ranker import TextRanker
from tests.unit.recommender.evaluation.feedback.test_tables import METRICS as OF_FEEDBACK
from tests.unit.recommender.tiny_shop import random_vectors, write_training_set

COMPARISON = Comparison("ndcg_at_5", 0.2, 0.1, 0.1, 0.05, 0.15, 0.001, 41)


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    """A real evaluation of two rankers, with a scorer's bins and a learning curve beside it."""
    training = write_training_set(tmp_path_factory.mktemp("training"))
    vectors = random_vectors(training)
    queries = read_queries(training, "test")
    rankers = {"popularity": PopularityRanker(vectors), "blend": TextRanker(vectors)}
    gender = ["F" if n % 2 else "M" for n in range(len(queries))]
    evaluated = evaluate_rankers(rankers, queries, 5, 0, vectors, {"gender & more": gender})
    reranking = evaluate_reranking(rankers["blend"], vectors, queries, 5, RerankSettings(), 0)
    said = np.linspace(0.05, 0.95, 40)
    bins = reliability(said, np.random.default_rng(0).random(40) < said)
    scorer = {"n_pairs": 40, "reliability": bins, "models": {"pair_scorer": {"rmse": 0.9}, "global_mean": {"mae": 1.0}}}
    curve = [{"epoch": n, "loss": 5.0 - n, "ndcg": 0.1 * n} for n in (1, 2, 3)]
    return {**evaluated, "reranking": reranking, "scorer": scorer, "writer": None, "curves": {"sequence": curve}}


@pytest.fixture(scope="module")
def page(metrics) -> str:
    return render(metrics, "small: <evaluation>", "bundle 12ab", COMPARISON)


class Page(HTMLParser):
    """Collects the tags, and what they refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.headings: list[str] = []
        self._in_heading = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._in_heading = tag in ("h1", "h2")
        self.references += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]

    def handle_data(self, data):
        if self._in_heading and data.strip():
            self.headings.append(data)
        self._in_heading = False


def test_the_page_has_a_section_for_everything_that_was_measured(page):
    assert Page(page).headings == [
        "small: <evaluation>",
        "Against the bundle in service",
        "Accuracy",
        "Beyond accuracy",
        "What is served, less each other ranker",
        "Re-ranking",
        "Gaps between groups",
        "Ratings and likes",
        "Quality by history length",
        "Quality by item popularity",
        "Quality by user group",
        "Coverage and novelty against accuracy",
        "Calibration of P(like)",
        "Learning curves",
        "What the measures are",
    ]


def test_the_page_needs_nothing_from_elsewhere(page):
    parsed = Page(page)
    assert "script" not in parsed.tags
    assert "link" not in parsed.tags
    assert all(reference.startswith("#") for reference in parsed.references)
    assert len(page.encode()) < 2_000_000


def test_figures_and_intervals_are_shown_as_measured(page, metrics):
    low, high = metrics["intervals"]["blend"]["ndcg_at_5"]
    assert f"{metrics['ranking']['blend']['ndcg_at_5']:.4f}" in page
    assert f"{low:.4f}–{high:.4f}" in page
    assert f"{metrics['differences']['popularity']['ndcg_at_5']['mean']:+.4f}" in page
    assert COMPARISON.sentence() in html.unescape(page)
    assert "gender &amp; more: F" in page


def test_re_ranking_and_gaps_have_a_table_and_a_gap_beyond_noise_a_warning(metrics, page):
    text = page.replace("&#43;", "+")
    assert {"Re-ranking", "Gaps between groups"} <= set(Page(page).headings)
    for row in metrics["reranking"]["rows"][1:]:
        assert f"{row['cost']['low']:+.4f} to {row['cost']['high']:+.4f}" in text
    assert [gap["grouping"] for gap in metrics["gaps"]] == ["activity", "gender & more", "item popularity"]
    for gap in metrics["gaps"]:
        assert f"{gap['low']:.4f} to {gap['high']:.4f}" in text
    sure, unsure = ([{**gap, "beyond_noise": is_sure} for gap in metrics["gaps"]] for is_sure in (True, False))
    warning = f"gender &amp; more beyond noise: {metrics['gaps'][1]['best']} "
    assert warning in render({**metrics, "gaps": sure}, "small", "bundle")
    assert "Warning:" not in render({**metrics, "gaps": unsure}, "small", "bundle")


def test_a_bundle_without_scorer_curves_or_champion_has_no_such_sections(metrics):
    bare = {**metrics, "scorer": None, "curves": {}, "by_user_group": {}}
    headings = Page(render(bare, "small", "bundle")).headings
    assert not {"Ratings and likes", "Calibration of P(like)", "Learning curves", "Quality by user group"} & set(
        headings
    )
    assert "Against the bundle in service" not in headings


def test_feedback_text_is_shown_beside_the_baselines_and_the_real_reviews(metrics):
    """Texts of strangers are shown as they are, and never as part of the page."""
    bad = '<script>alert("1")</script> & \u202e'
    writer = {
        **OF_FEEDBACK["writer"],
        "samples": [{**OF_FEEDBACK["writer"]["samples"][0], "real": bad, "written": bad}],
    }
    page = render({**metrics, "writer": writer}, "small", "bundle")
    parsed = Page(page)
    assert {"Feedback text: likeness to the real reviews", "Feedback text: what it says"} <= set(parsed.headings)
    assert "Feedback text: samples" in parsed.headings
    assert "script" not in parsed.tags
    assert page.count("&lt;script&gt;alert(") == 2
    assert "A drum</b>, 2 stars, user u7" in page
    assert "statement precision" in page
    assert "the same before training" in page
    assert "1.457" in page
    without = Page(render(metrics, "small", "bundle")).headings
    assert not [heading for heading in without if heading.startswith("Feedback text")]


def test_who_wrote_a_sample_is_named_so_that_forgetting_them_finds_the_report(metrics, tmp_path):
    """However short the id: behind a word in the page, in a field of the JSON."""
    sample = {**OF_FEEDBACK["writer"]["samples"][0], "user_id": "7"}
    written = {**metrics, "writer": {**OF_FEEDBACK["writer"], "samples": [sample]}}
    told = write_report(tmp_path / "ab.html", written, title="small", subtitle="bundle")
    for file in (told, tmp_path / "ab.html"):
        assert names(file, Person("7"))
        assert not names(file, Person("8"))


def test_json_stands_beside_the_page(metrics, tmp_path):
    told = write_report(tmp_path / "ab.html", metrics, title="small", subtitle="bundle", comparison=COMPARISON)
    assert told == tmp_path / "ab.json"
    assert json.loads(told.read_text())["champion"]["p_value"] == 0.001
    assert json.loads(told.read_text())["ranking"] == metrics["ranking"]
    assert (tmp_path / "ab.html").read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ab.html", "ab.json"]


def test_the_verdict_tells_the_sure_from_the_unsure(metrics):
    surely = {"ndcg_at_5": {"mean": 0.1, "low": 0.01, "high": 0.2}}
    unsure = {"ndcg_at_5": {"mean": 0.1, "low": -0.01, "high": 0.2}}
    told = verdict({"k": 5, "differences": {"popularity": surely, "als": unsure, "bm25": surely}})
    assert told == (
        "By ndcg_at_5, what is served is surely above 'popularity' and 'BM25 over texts'; not surely above 'ALS'."
    )
    assert verdict({"k": 5, "differences": {"als": unsure}}).startswith("By ndcg_at_5, nothing is surely beaten")


def test_plots_are_equal_for_equal_figures_and_keep_their_text(metrics):
    names = name_models(metrics["ranking"])
    drawn = [plot_groups(metrics["by_history_length"], names, "blend", "NDCG@5") for _ in range(2)]
    assert drawn[0] == drawn[1]
    texts = [element.text for element in ElementTree.fromstring(drawn[0]).iter() if element.tag.endswith("text")]
    assert "NDCG@5" in texts
    assert names["blend"] in texts


def test_a_ranker_without_a_name_is_shown_by_its_key():
    assert list(name_models(["blend", "new", "als"]).items()) == [
        ("new", "new"),
        ("als", "ALS"),
        ("blend", "blend, as served"),
    ]


def test_what_is_served_is_marked_where_it_is_not_the_blend(metrics):
    def rows_in_service(page):
        return [row for row in page.split("<tr") if row.startswith(' class="served"') and "popularity" in row]

    instead = {**metrics, "served": "popularity"}
    assert name_models(metrics["ranking"], "popularity") == {
        "popularity": "popularity, as served",
        "blend": "blend, the candidate",
    }
    assert name_models(metrics["ranking"], None)["blend"] == "blend, the candidate"
    page = render(instead, "small", "bundle", decision="it is surely worse than popularity")
    assert "popularity, as served" in page
    assert rows_in_service(page)
    assert not rows_in_service(render(metrics, "small", "bundle"))
    assert "The gate: it is surely worse than popularity." in page
    assert "The candidate, less each other ranker" in Page(page).headings
    assert "By ndcg_at_5, what is served" not in page


def test_the_decision_stands_in_the_json(metrics, tmp_path):
    told = write_report(tmp_path / "ab.html", metrics, title="small", subtitle="bundle", decision="it is better")
    assert json.loads(told.read_text())["decision"] == "it is better"
