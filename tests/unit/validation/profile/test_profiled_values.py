"""What the values of a file say: times, events, ratings, ids and null words."""

from tests.own_data import write_rows
from tests.unit.validation.profile.profiles import MOMENTS, log, profiled, questions, settings_of, source_of
from validation.profile.settings import settings_text


def test_no_time_is_asked_for_and_not_taken(tmp_path):
    rows = log("user_id,item_id,rating", lambda i: [i % 9, i % 7, 1 + i % 5])
    path = write_rows(tmp_path / "a.csv", rows)
    (question,) = questions(path)
    assert "in order of time" in question
    assert '# no_time = "file_order"' in settings_text(profiled(path), "x")
    assert source_of(path).no_time == "refuse"


def test_day_or_month_first_is_asked_for_where_nothing_settles_it(tmp_path):
    rows = log("user_id,item_id,at", lambda i: [i % 9, i % 7, f"{1 + i * 7 % 12:02d}/{1 + i * 5 % 12:02d}/2023"], 144)
    path = write_rows(tmp_path / "a.csv", rows)
    (question,) = questions(path)
    assert "day or the month first" in question
    text = settings_text(profiled(path), "x")
    assert '# date_formats = ["%d/%m/%Y"]\n# date_formats = ["%m/%d/%Y"]' in text


def test_dates_as_digits_are_dates(tmp_path):
    write_rows(
        tmp_path / "interactions.csv",
        log("user_id,item_id,timestamp", lambda i: [i % 9, i % 7, f"202401{1 + i % 28:02d}"]),
    )
    profile = profiled(tmp_path)
    assert settings_of(profile, tmp_path.parent).source.date_formats == ("%Y%m%d",)
    assert "2024-01-01 to 2024-01-28" in profile.abilities.lines[0]


def test_the_shops_words_for_events_are_mapped(tmp_path):
    words = ["pv", "buy", "cart", "fav", "addToCart", "product_view"]
    rows = log("user_id,item_id,behavior,ts", lambda i: [i % 9, i % 7, words[i % 6], 1_700_000_000_000 + i])
    source = source_of(write_rows(tmp_path / "a.csv", rows))
    assert source.columns["interactions"]["event"] == "behavior"
    mapped = {"pv": "view", "buy": "purchase", "fav": "click", "addtocart": "cart", "product_view": "view"}
    assert source.values["interactions"]["event"] == mapped


def test_words_for_events_that_no_list_knows_are_asked_for(tmp_path):
    words = ["view", "frobnicate", "view", "purchase"]
    rows = log("user_id,item_id,event,ts", lambda i: [i % 9, i % 7, words[i % 4], 1_700_000_000 + i])
    path = write_rows(tmp_path / "a.csv", rows)
    (question,) = questions(path)
    assert "frobnicate (50)" in question
    assert '# frobnicate = "view"' in settings_text(profiled(path), "x")


def test_a_returned_item_is_no_purchase_and_no_question(tmp_path):
    words = ["view"] * 8 + ["purchase", "remove_from_cart"]
    rows = log("user_id,item_id,event,ts", lambda i: [i % 9, i % 7, words[i % 10], 1_700_000_000 + i])
    profile = profiled(write_rows(tmp_path / "a.csv", rows))
    assert not profile.draft.questions
    assert profile.draft.get("recipe.source.values.interactions.event", "remove_from_cart", None) == ""


def test_ids_that_are_floats_in_one_file_meet_those_of_the_other(tmp_path):
    write_rows(
        tmp_path / "events.csv", log("user_id,item_id,timestamp", lambda i: [f"{i % 9}.0", f"i{i % 7}", MOMENTS[i]])
    )
    write_rows(tmp_path / "people.csv", log("id,country", lambda i: [i, ("UK", "FR")[i % 2]], 9))
    assert source_of(tmp_path).columns["users"] == {"user_id": "id", "country": "country"}


def test_an_encoding_that_is_not_utf_8_is_set(tmp_path):
    rows = log(
        "kunde;artikel;bezeichnung;datum",
        lambda i: [f"u{i % 9}", f"i{i % 7}", f"Größe {i % 7}", MOMENTS[i]],
        delimiter=";",
    )
    source = source_of(write_rows(tmp_path / "export.csv", rows, delimiter=";", encoding="cp1252"))
    assert (source.encoding, source.delimiter) == ("cp1252", ";")
    assert source.columns["items"]["title"] == "bezeichnung"


def test_a_decimal_comma_is_set(tmp_path):
    rows = log(
        "kunde;artikel;preis;datum",
        lambda i: [f"u{i % 9}", f"i{i % 7}", f"{1 + i % 7},90 €", MOMENTS[i]],
        delimiter=";",
    )
    path = write_rows(tmp_path / "export.csv", rows, delimiter=";")
    assert settings_of(profiled(path), tmp_path).validation.cleaning.decimal_comma


def test_a_value_that_is_no_rating_is_not_read_as_one(tmp_path):
    rows = log("user_id,item_id,value,timestamp", lambda i: [i % 9, i % 7, 1000 + 37 * i, MOMENTS[i]])
    write_rows(tmp_path / "interactions.csv", rows)
    (question,) = questions(tmp_path)
    assert "Column value" in question
    assert "rename it" in question


def test_zeros_that_may_mean_no_rating_are_asked_for(tmp_path):
    rows = log("user_id,item_id,rating,date", lambda i: [i % 9, i % 7, (0, 0, 8, 7, 10, 9)[i % 6], MOMENTS[i]])
    path = write_rows(tmp_path / "a.csv", rows)
    (question,) = questions(path)
    assert "34% of the ratings in rating are 0" in question
    assert '# 0 = ""' in settings_text(profiled(path), "x")


def test_a_code_for_no_rating_is_emptied(tmp_path):
    rows = log("user_id,anime_id,rating,date", lambda i: [i % 9, i % 7, (-1, 7, 10, 1, 5)[i % 5], MOMENTS[i]])
    profile = profiled(write_rows(tmp_path / "a.csv", rows))
    recipe = settings_of(profile, tmp_path)
    assert recipe.source.values["interactions"]["value"] == {"-1": ""}
    assert recipe.validation.cleaning.rating_scale == (1.0, 10.0)


def test_codes_for_events_are_asked_for(tmp_path):
    rows = log("user_id,item_id,action_type,date", lambda i: [i % 9, i % 7, (0, 2, 3)[i % 3], MOMENTS[i]])
    (question,) = questions(write_rows(tmp_path / "a.csv", rows))
    assert "is meant by 0 (67)" in question


def test_words_for_nothing_are_no_users(tmp_path):
    users = ("NULL", "\\N", "u1", "u2", "u3")
    write_rows(
        tmp_path / "interactions.csv", log("user_id,item_id,timestamp", lambda i: [users[i % 5], i % 7, MOMENTS[i]])
    )
    profile = profiled(tmp_path)
    assert profile.abilities.lines[0].startswith("recommend: yes (120 events of 3 users")
    assert settings_of(profile, tmp_path.parent).validation.max_quarantined_share == 0.2


def test_one_word_among_ratings_is_left_empty_and_said(tmp_path):
    ratings = ["Like", *("5", "3.5", "1", "4") * 50]
    rows = log("Reviewer,Restaurant,Rating,Time", lambda i: [i % 9, i % 7, ratings[i], MOMENTS[i]])
    path = write_rows(tmp_path / "reviews.csv", rows)
    assert source_of(path).columns["interactions"]["value"] == "Rating"
    assert '# like = "5"' in settings_text(profiled(path), "x")
    assert questions(path) == []


def test_words_of_events_tell_of_them_whatever_their_column_is_called(tmp_path):
    words = ("pv", "kauf", "pv")
    rows = log("visitor,sku,what,zeit", lambda i: [f"v{i % 9}", f"s{i % 7}", words[i % 3], MOMENTS[i]])
    source = source_of(write_rows(tmp_path / "log.csv", rows))
    assert source.columns["interactions"]["event"] == "what"
    assert source.values["interactions"]["event"] == {"pv": "view", "kauf": "purchase"}


def test_one_known_word_alone_is_no_column_of_events(tmp_path):
    rows = log("visitor,sku,what,zeit", lambda i: [f"v{i % 9}", f"s{i % 7}", "view", MOMENTS[i]])
    assert "event" not in source_of(write_rows(tmp_path / "log.csv", rows)).columns["interactions"]
