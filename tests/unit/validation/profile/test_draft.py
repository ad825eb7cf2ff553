"""A draft becomes TOML that reads back, with questions as comments."""

import tomllib

import pytest

from validation.profile.draft import Draft, line_number, render, toml_value

AWKWARD = ['with "quotes"', "back\\slash", "tab\there", "new\nline", "ünïcode €", "\x7f", "a = b # c"]


@pytest.mark.parametrize("text", AWKWARD)
def test_texts_read_back_as_they_were(text):
    draft = Draft()
    draft.set("recipe.source.columns.items", text, text, why=text)
    assert tomllib.loads(render(draft, "x"))["recipe"]["source"]["columns"]["items"] == {text: text}


@pytest.mark.parametrize("value", [True, 0.5, 3, [0.5, 5.0], ["%d/%m/%Y"], "x"])
def test_values_read_back_as_they_were(value):
    assert tomllib.loads(f"a = {toml_value(value)}")["a"] == value


def test_keys_of_a_section_stand_before_its_tables():
    draft = Draft()
    draft.set("recipe.source.columns.items", "title", "Name")
    draft.set("recipe.source", "kind", "tables")
    text = render(draft, "x")
    assert text.index("[recipe.source]") < text.index("[recipe.source.columns.items]")


def question() -> Draft:
    draft = Draft()
    draft.ask("recipe.source.columns.interactions", "Which one is the user?", [("user_id", "A"), ("user_id", "B")])
    return draft


def test_a_question_is_written_as_comments_and_found_by_its_line():
    draft = question()
    text = render(draft, "x")
    assert tomllib.loads(text) == {"shop": "x", "recipe": {"source": {"columns": {"interactions": {}}}}}
    assert '# user_id = "A"\n# user_id = "B"' in text
    assert text.splitlines()[line_number(text, draft.questions[0]) - 1].startswith("# QUESTION: Which one")


def test_a_question_is_open_until_its_setting_is_written():
    draft = question()
    text = render(draft, "x")
    assert draft.open_questions(tomllib.loads(text)) == draft.questions
    assert draft.open_questions(tomllib.loads(text.replace('# user_id = "A"', 'user_id = "A"'))) == []


@pytest.mark.parametrize("override", ["recipe.source.columns.interactions.user_id=A", 'recipe.source.columns={"x": 1}'])
def test_the_command_line_answers_too(override):
    assert question().open_questions({}, [override]) == []


def test_another_setting_is_no_answer():
    assert question().open_questions({}, ["recipe.source.columns.interactions.item_id=A"])


def test_every_word_of_a_question_has_to_be_answered():
    draft = Draft()
    draft.ask("recipe.source.values.interactions.event", "Which?", [("foo", "view"), ("bar", "view")], every=True)
    one = {"recipe": {"source": {"values": {"interactions": {"event": {"foo": "view"}}}}}}
    assert draft.open_questions(one)
    one["recipe"]["source"]["values"]["interactions"]["event"]["Bar"] = "view"
    assert not draft.open_questions(one)


def test_what_no_setting_answers_stays_open():
    draft = Draft()
    draft.ask("recipe.source", "The file has no header.", [])
    assert "# QUESTION: The file has no header." in render(draft, "x")
    assert draft.open_questions({"recipe": {"source": {}}})
