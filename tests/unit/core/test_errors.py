import pickle

import pytest

from core.errors import SettingsError, SommelierError
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
