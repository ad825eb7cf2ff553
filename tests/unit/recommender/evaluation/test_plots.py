"""The figures of the report hold whatever a shop calls its attributes and their values."""

import html

import pytest

from recommender.evaluation.plots import plot_user_groups


def drawn(table):
    return plot_user_groups(
        {
            grouping: {"groups": {group: {"n_queries": 12, "served": 0.1} for group in groups}}
            for grouping, groups in table.items()
        },
        "served",
        "NDCG@10",
    )


def colours_of(svg):
    """Of the bars, from the first: each colour once."""
    fills = [part.split(";")[0].strip() for part in svg.split("fill:")[1:]]
    return list(dict.fromkeys(fill for fill in fills if fill in ("#0072b2", "#e69f00", "#009e73")))


def test_a_grouping_may_have_a_colon_in_its_name():
    svg = drawn({"activity": ["a", "b"], "plan: type": ["free: trial", "paid"], "plan": ["c", "d"]})
    assert ">plan: type: free: trial</text>" in svg
    assert colours_of(svg) == ["#0072b2", "#e69f00", "#009e73"]


@pytest.mark.parametrize("group", ["$50_$", "$1^$", "$0-$50k", "<$10k & >$5k", "cost $a\\b$", "US$ {x} $"])
def test_a_shops_words_are_no_formula(group):
    assert f"income: {group}" in html.unescape(drawn({"income": [group, "other"]}))
    assert f"{group}: other" in html.unescape(drawn({group: ["other", "more"]}))
