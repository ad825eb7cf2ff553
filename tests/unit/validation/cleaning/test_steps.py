"""Cleaning: each switch repairs or quarantines what it says, counts it, and leaves the rest alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.settings.source import TablesSource
from core.settings.validation import CleaningSettings, MissingValues, Outliers, ValidationSettings
from tests.unit.validation.scans import LENIENT, Scanned, scan_rows
from tests.unit.validation.source_files import json_lines, write
from validation.errors import RuleError
from validation.gate import validate
from validation.sources.ingest import ingest

OFF = {"mend_text": False, "mask_pii": ()}


def _scan(tmp_path: Path, cleaning: dict[str, Any], source: dict[str, Any] | None = None, **tables: Any) -> Scanned:
    """Scan tables given as rows; interactions, if left out, are one view."""
    tables.setdefault("interactions", [_event()])
    return scan_rows(tmp_path, _settings(cleaning), source, **tables)


def _settings(cleaning: dict[str, Any]) -> ValidationSettings:
    return LENIENT.model_copy(update={"cleaning": CleaningSettings(**{**OFF, **cleaning})})


def _event(number: int = 0, **changes: Any) -> dict[str, Any]:
    row = {"event_id": f"e{number}", "user_id": "u1", "item_id": "i1", "event": "view"}
    return {**row, "timestamp": f"2025-01-01T00:{number // 60:02d}:{number % 60:02d}Z", **changes}


def _items(*prices: Any) -> list[dict[str, Any]]:
    return [{"item_id": f"i{i}", "price": price} for i, price in enumerate(prices)]


def _review(text: str, number: int = 0, **changes: Any) -> dict[str, Any]:
    row = {"user_id": f"u{number}", "item_id": "i1", "rating": 4, "text": text}
    return {**row, "timestamp": f"2025-01-01T00:00:{number:02d}Z", **changes}


MESSY = ["Tom &amp; Co", "cafÃ© crÃ¨me", "bell\x07 rings", "two  spaces.And", "plain café"]


def test_texts_are_mended_and_each_kind_is_counted(tmp_path: Path) -> None:
    reviews = [_review(text, i) for i, text in enumerate(MESSY)]
    summary = _scan(tmp_path, {"mend_text": True}, feedback=reviews, items=[{"item_id": "i1", "title": "A &lt; B"}])
    repaired = ["Tom & Co", "café crème", "bell rings", "two spaces. And", "plain café"]
    assert summary.clean("feedback", "text") == repaired
    kinds = {"html_entities": 1, "broken_encoding": 1, "control_characters": 1, "spacing": 1}
    assert summary.tables["feedback"].cleaned == kinds
    assert summary.clean("items", "title") == ["A < B"]
    docs = validate(tmp_path / "raw", tmp_path / "clean", _settings({"mend_text": True}), tmp_path / "docs").docs
    assert all(kind in docs.read_text() for kind in kinds)


def test_markup_leaves_texts_and_a_text_of_nothing_else_is_empty(tmp_path: Path) -> None:
    reviews = [
        _review(text, i) for i, text in enumerate(["Fine<br/>sound", "<br/>&nbsp;", "I <3 it", "at jo@x.com<p>"])
    ]
    items = [{"item_id": "i1", "title": "<b>Tea</b>", "description": "<ul><li>one<li>two</ul>"}]
    summary = _scan(tmp_path, {"mend_text": True, "mask_pii": ("email",)}, feedback=reviews, items=items)
    assert summary.clean("feedback", "text") == ["Fine sound", "I <3 it", "at <EMAIL>"]
    counts = summary.tables["feedback"]
    assert (counts.rules, counts.cleaned["markup"], counts.cleaned["pii_email"]) == ({"text_required": 1}, 3, 1)
    assert summary.clean("items", "title", "description") == [("Tea", "one two")]
    kept = _scan(tmp_path, {"mend_text": True, "strip_markup": False}, feedback=reviews[:1], items=items)
    assert kept.clean("feedback", "text") == ["Fine<br/>sound"]
    assert "markup" not in kept.tables["feedback"].cleaned


def test_texts_stay_as_they_are_where_mending_is_off(tmp_path: Path) -> None:
    summary = _scan(tmp_path, {}, feedback=[_review(text, i) for i, text in enumerate(MESSY)])
    assert summary.clean("feedback", "text") == MESSY
    assert summary.tables["feedback"].cleaned == {}


def test_personal_data_leave_the_gate_nowhere_and_are_counted(tmp_path: Path) -> None:
    texts = ["write to jo@example.com", "call 212\u2011555\u20110187", "it costs 1,299.00 here", "jo&#64;example.com"]
    items = [
        {
            "item_id": "i1",
            "title": "Set 212-555-0187",
            "description": "Ask jo@example.com, 212-555-0187",
            "brand": "A <jo@x.com>",
        },
        {"item_id": "i2", "title": "by jo@x.com", "category": "Lamps", "seller": "jo@x.com", "model": "212-555-0187"},
    ]
    contact = {"mail": ["jo@x.com"], "phone": 2125550187}
    users: list[Any] = [{"user_id": f"u{number}"} for number in range(4)]
    users[0] |= {"name": "Ada King", "age": "34", "contact": contact}
    pii = ("email", "phone", "person")
    summary = _scan(
        tmp_path,
        {"mend_text": True, "mask_pii": pii},
        feedback=[_review(text, i) for i, text in enumerate(texts)],
        items=items,
        users=users,
    )
    assert summary.clean("feedback", "text") == [
        "write to <EMAIL>", "call <PHONE>", "it costs 1,299.00 here", "<EMAIL>",
    ]  # fmt: skip
    assert summary.clean("items", "title", "description", "brand", "seller", "model")[:2] == [
        ("Set 212-555-0187", "Ask <EMAIL>, <PHONE>", "A <<EMAIL>>", None, None),
        ("by <EMAIL>", None, None, "<EMAIL>", "212-555-0187"),
    ]
    ((name, age, reached),) = summary.clean("users", "name", "age", "contact")[:1]
    assert (name, age, json.loads(reached)) == ("<PERSON>", "34", {"mail": ["<EMAIL>"], "phone": "<PHONE>"})
    found = {table: counts.cleaned for table, counts in summary.tables.items()}
    assert found["feedback"] == {"html_entities": 1, "pii_email": 2, "pii_phone": 1}
    assert found["items"] == {"pii_email": 2, "pii_phone": 1}
    assert found["users"] == {"pii_email": 1, "pii_person": 1, "pii_phone": 1}


def test_personal_data_stay_where_the_settings_mask_none(tmp_path: Path) -> None:
    off = {"mask_pii": (), "mask_pii_items": (), "mask_pii_titles": ()}
    items = [{"item_id": "i1", "title": "jo@x.com", "description": "jo@x.com", "seller": "jo@x.com"}]
    summary = _scan(tmp_path, off, feedback=[_review("jo@x.com")], items=items)
    assert summary.clean("items", "title", "description", "seller") == [("jo@x.com",) * 3]
    assert summary.clean("feedback", "text") == ["jo@x.com"]


def test_prices_with_a_decimal_comma(tmp_path: Path) -> None:
    prices = ["1.299,00", "7,5", "12", "€ 3,50", "1299.5"]
    summary = _scan(
        tmp_path, {"decimal_comma": True}, items=[{"item_id": "i1"}, *_items(*prices)[2:], *_items(*prices)[:1]]
    )
    assert summary.clean("items", "price") == [None, 12.0, 3.5, 1299.5, 1299.0]
    assert summary.tables["items"].cleaned == {"normalised_price": 2}


def test_ratings_of_another_scale_become_1_to_5(tmp_path: Path) -> None:
    rated = [_event(i, event="rating", value=value) for i, value in enumerate([0, 5, 10, 11])]
    summary = _scan(
        tmp_path, {"rating_scale": (0, 10)}, interactions=[*rated, _event(9)], feedback=[_review("x", rating=7.5)]
    )
    assert summary.clean("interactions", "value") == [1.0, 3.0, 5.0, None]
    assert summary.clean("feedback", "rating") == [4.0]
    assert summary.tables["interactions"].rules == {"value_in_range": 1}
    assert summary.tables["interactions"].cleaned == {"normalised_rating": 4}


def test_dates_of_several_forms(tmp_path: Path) -> None:
    times = ["5/25/2019 15:54", "05-12-2019 08:37", "2019-05-25T10:00:00+02:00", 1558742400, "31/12/2019 10:00"]
    events = [_event(i, timestamp=time) for i, time in enumerate(times)]
    summary = _scan(tmp_path, {}, {"date_formats": ("%m/%d/%Y %H:%M", "%m-%d-%Y %H:%M")}, interactions=events)
    got = [f"{at:%Y-%m-%d %H:%M}" for at in summary.clean("interactions", "timestamp")]
    assert got == ["2019-05-25 15:54", "2019-05-12 08:37", "2019-05-25 08:00", "2019-05-25 00:00"]
    assert summary.tables["interactions"].rules == {"timestamp_parses": 1}
    assert summary.tables["interactions"].cleaned == {"other_date_form": 2}


@pytest.mark.parametrize(
    ("how", "value", "filled"), [("value", "9.5", 9.5), ("mean", "", 5.0), ("median", "", 2.0), ("mode", "", 1.0)]
)
def test_empty_values_are_filled(tmp_path: Path, how: Any, value: str, filled: float) -> None:
    missing = MissingValues(table="items", column="price", how=how, value=value)
    items = _items(1, 1, 2, 4, 17, "", "free")
    summary = _scan(tmp_path, {"missing": (missing,)}, interactions=[_event(item_id="i0")], items=items)
    assert summary.clean("items", "price") == [1, 1, 2, 4, 17, filled, filled]
    assert summary.tables["items"].cleaned == {"filled_price": 2, "emptied_price": 1}


def test_rows_without_a_value_are_dropped(tmp_path: Path) -> None:
    missing = MissingValues(table="items", column="price", how="drop")
    summary = _scan(tmp_path, {"missing": (missing,)}, interactions=[_event(item_id="i0")], items=_items(1, "", "free"))
    assert summary.clean("items", "item_id") == ["i0"]
    assert summary.tables["items"].rules == {"missing_price": 2}


def test_ratings_between_two_of_an_item_are_interpolated_in_time(tmp_path: Path) -> None:
    values = {0: 1, 15: "", 30: "", 60: 5, 70: ""}
    rated = [_event(second, event="rating", value=value) for second, value in values.items()]
    other = _event(20, event_id="o", item_id="i2", event="rating", value="")
    missing = MissingValues(table="interactions", column="value", how="interpolate")
    summary = _scan(tmp_path, {"missing": (missing,)}, interactions=[*reversed(rated), other, _event(99)])
    # The row order of the source stands, though a window ran over the rows.
    assert summary.clean("interactions", "event_id", "value") == [
        ("e60", 5.0), ("e30", 3.0), ("e15", 2.0), ("e0", 1.0), ("e99", None)
    ]  # fmt: skip
    assert summary.tables["interactions"].rules == {"rating_has_value": 2}
    assert summary.tables["interactions"].cleaned == {"filled_value": 2}


PRICES = [10, 11, 12, 13, 14, 500]


@pytest.mark.parametrize(
    ("action", "clean", "rules", "warnings", "cleaned"),
    [
        ("quarantine", PRICES[:-1], {"outlier_price": 1}, {}, {}),
        ("warn", PRICES, {}, {"outlier_price": 1}, {}),
        ("clip", [*PRICES[:-1], 17.5], {}, {}, {"clipped_price": 1}),
        ("empty", [*PRICES[:-1], None], {}, {}, {"emptied_price": 1}),
    ],
)
def test_outliers_beyond_the_fences(
    tmp_path: Path, action: Any, clean: list[Any], rules: Any, warnings: Any, cleaned: Any
) -> None:
    # Quartiles 11.25 and 13.75, so that the fences at 1.5 ranges are 7.5 and 17.5.
    outliers = Outliers(table="items", column="price", factor=1.5, action=action)
    summary = _scan(tmp_path, {"outliers": (outliers,)}, interactions=[_event(item_id="i0")], items=_items(*PRICES))
    counts = summary.tables["items"]
    kept = [price for id_, price in summary.clean("items", "item_id", "price") if id_ != "i5" or clean != PRICES[:-1]]
    assert kept == clean
    assert (counts.rules, {k: v for k, v in counts.warnings.items() if k != "title_given"}) == (rules, warnings)
    assert counts.cleaned == cleaned


def test_outliers_by_standard_deviations(tmp_path: Path) -> None:
    # Mean 93.3 and deviation 199.2: two of them end below 500, three do not.
    items = _items(*PRICES)
    for factor, broken in ((2.0, {"outlier_price": 1}), (3.0, {})):
        outliers = Outliers(table="items", column="price", method="z_score", factor=factor)
        summary = _scan(tmp_path, {"outliers": (outliers,)}, interactions=[_event(item_id="i0")], items=items)
        assert summary.tables["items"].rules == broken


def test_repeated_events_are_near_duplicates(tmp_path: Path) -> None:
    events = [_event(0), _event(3), _event(20), _event(21, event="click"), _event(22, item_id="i2")]
    summary = _scan(tmp_path, {"repeated_within_s": 5}, interactions=events)
    assert summary.clean("interactions", "event_id") == ["e0", "e20", "e21", "e22"]
    assert summary.tables["interactions"].rules == {"near_duplicate": 1}


def test_similar_reviews_of_others_are_near_duplicates(tmp_path: Path) -> None:
    said = "a very fine cup of tea for a cold and rainy morning in the old town"
    texts = [said, said.replace("town", "village"), "something else was said of this item here", said.upper() + "!"]
    reviews = [_review(text, i) for i, text in enumerate(texts)]
    reviews.append(_review(said, 0, timestamp="2025-03-01"))  # the same author, later
    summary = _scan(tmp_path, {"similar_texts": 0.8}, feedback=reviews)
    assert summary.clean("feedback", "text") == [texts[0], texts[2]]
    assert summary.tables["feedback"].rules == {"near_duplicate": 3}
    # 14 of 16 word pairs are shared by the first two: Jaccard 0.875.
    summary = _scan(tmp_path, {"similar_texts": 0.9}, feedback=reviews[:2])
    assert summary.tables["feedback"].rules == {}


def test_similar_reviews_are_compared_by_the_words_of_their_script(tmp_path: Path) -> None:
    hindi = "नीली मोटी पीली रोटी मीठी काली चीनी छोटी बड़ी अच्छी"  # and the same adjectives of something masculine
    texts = [
        hindi,
        hindi.replace("ी", "ा"),
        "这把吉他音色很好而且价格便宜值得购买",
        "这把吉他音色很好而且价格便宜值得推荐",
    ]
    summary = _scan(tmp_path, {"similar_texts": 0.7}, feedback=[_review(text, i) for i, text in enumerate(texts)])
    assert summary.clean("feedback", "text") == texts[:3]


@pytest.mark.parametrize("bots", ["quarantine", "warn"])
def test_users_with_too_many_events_are_bots(tmp_path: Path, bots: str) -> None:
    busy = [_event(10 * i, event_id=f"busy{i}", user_id="busy") for i in range(6)]
    quick = [_event(i, event_id=f"quick{i}", user_id="quick") for i in range(3)]
    later = [_event(0, event_id="later", user_id="busy", timestamp="2025-02-01")]
    cleaning = {"max_events_per_day": 5, "burst_events": 3, "burst_s": 2, "bots": bots}
    summary = _scan(tmp_path, cleaning, interactions=[_event(0), _event(30), *busy, *quick, *later])
    found = {"bot_rate": 7, "bot_burst": 3}
    counts = summary.tables["interactions"]
    if bots == "quarantine":
        assert summary.clean("interactions", "event_id") == ["e0", "e30"]
        assert counts.rules == found
    else:
        assert (counts.rows_clean, counts.rules, counts.warnings) == (12, {}, found)


def test_the_k_core_is_found_in_rounds(tmp_path: Path) -> None:
    pairs = [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 3), ("c", 1), ("d", 3)]
    events = [_event(i, user_id=user, item_id=f"i{item}") for i, (user, item) in enumerate(pairs)]
    bad = _event(50, user_id="d", item_id="i3", event="wish")  # does not count: it is not clean
    summary = _scan(tmp_path, {"min_user_events": 2, "min_item_events": 2}, interactions=[*events, bad])
    # Without d, i3 has one event; without i3, c has one.
    assert summary.clean("interactions", "user_id", "item_id") == [("a", "i1"), ("a", "i2"), ("b", "i1"), ("b", "i2")]
    assert summary.tables["interactions"].rules == {"event_in_set": 1, "k_core": 3}


@pytest.mark.parametrize(
    ("missing", "match"),
    [
        (MissingValues(table="items", column="colour", how="drop"), "column='colour', expected one of item_id, title"),
        (MissingValues(table="items", column="title", how="mean"), "column='title' of type string, expected a number"),
        (MissingValues(table="items", column="price", how="value", value="red"), "value='red'"),
        (MissingValues(table="items", column="price", how="interpolate"), "table='items'"),
    ],
)
def test_a_cleaning_that_does_not_fit_says_so(tmp_path: Path, missing: MissingValues, match: str) -> None:
    with pytest.raises(RuleError, match=match):
        _scan(tmp_path, {"missing": (missing,)}, items=_items(1))


def test_outliers_of_words_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="column='title' of type string"):
        _scan(tmp_path, {"outliers": (Outliers(table="items", column="title"),)}, items=_items(1))


def test_examples_of_broken_rows_show_no_personal_data(tmp_path: Path) -> None:
    bad = [_event(0), _event(1, timestamp="mail jo@example.com"), _event(2, event="call 212-555-0187")]
    write(tmp_path / "in" / "interactions.jsonl", json_lines(*bad))
    ingest(TablesSource(path=tmp_path / "in"), tmp_path / "raw")
    summary = validate(
        tmp_path / "raw",
        tmp_path / "clean",
        ValidationSettings(min_interactions=1, max_quarantined_share=1),
        tmp_path / "docs",
    )
    pages = "".join(page.read_text() for page in summary.docs.parent.rglob("*.html"))
    assert "&lt;EMAIL&gt;" in pages
    assert "jo@example.com" not in pages
    assert "212-555-0187" not in pages
