import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errors import SettingsError, SommelierError, as_exception
from recommender.errors import BundleError, OtherSchemaVersion, RecommenderError, TrainingDataError


@pytest.mark.parametrize("kind", [RecommenderError, SettingsError, BundleError, OtherSchemaVersion, TrainingDataError])
def test_every_error_has_the_one_form(kind):
    error = kind("Cannot load bundle", got="schema_version=3", expected="4", where="a/manifest.json", do="Train anew")
    assert str(error) == "Cannot load bundle: schema_version=3, expected 4 (a/manifest.json). Train anew."
    assert isinstance(error, SommelierError)


def test_the_place_is_left_out_where_there_is_none():
    assert str(RecommenderError("A", got="b=1", expected="2", do="Do c")) == "A: b=1, expected 2. Do c."


def test_errors_survive_pickling():
    error = BundleError("A", got="b=1", expected="2", where="here", do="Do c")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is BundleError
    assert str(again) == str(error)
    assert again.where == "here"


def test_whatever_was_raised_is_an_exception_for_who_goes_on_but_not_what_ends_the_process():
    class Panic(BaseException):
        """As of a library that is written in Rust."""

    error, panic = ValueError("no"), Panic("index out of bounds")
    assert as_exception(error) is error
    found = as_exception(panic)
    assert (type(found), str(found), found.__cause__) == (RuntimeError, "Panic: index out of bounds", panic)
    for end in (KeyboardInterrupt(), SystemExit(1)):
        with pytest.raises(type(end)):
            as_exception(end)
        with ThreadPoolExecutor(1) as elsewhere:  # no signal comes there
            assert str(elsewhere.submit(as_exception, end).result()) == f"{type(end).__name__}: {end}"
