import json
from pathlib import Path

import pytest

from recommender.errors import BundleError, RecommenderError
from recommender.fitting.component import loading, read_config


def load(error: Exception) -> None:
    with loading("neighbours", got="folder=here", expected="weights", do="Fit them again"):
        raise error


def test_a_damaged_config_is_named(tmp_path: Path):
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(
        BundleError, match=r"Cannot load component: file=.*c\.json, expected readable JSON, but .*line 1"
    ):
        read_config(tmp_path / "c.json")
    with pytest.raises(BundleError, match="No such file"):
        read_config(tmp_path / "d.json")
    (tmp_path / "c.json").write_text(json.dumps({"width": 8}))
    assert read_config(tmp_path / "c.json") == {"width": 8}


@pytest.mark.parametrize("kind", [OSError, ValueError, TypeError, IndexError, RuntimeError, NotImplementedError])
def test_whatever_a_damaged_file_leads_to_names_the_component(kind: type[Exception]):
    with pytest.raises(BundleError) as caught:
        load(kind("it is torn"))
    assert str(caught.value) == (
        "Cannot load neighbours: folder=here, expected weights, but it is torn. Fit them again."
    )
    assert isinstance(caught.value.__cause__, kind)


def test_a_missing_key_is_said_to_be_missing():
    with pytest.raises(BundleError, match="but 'width' is missing"):
        load(KeyError("width"))


def test_an_error_of_the_package_is_taken_up_but_one_of_a_bundle_stays_as_it_is():
    told = {"got": "colour=red", "expected": "blue", "do": "Paint it"}
    with pytest.raises(BundleError, match=r"Cannot load neighbours: .* but Cannot paint: colour=red"):
        load(RecommenderError("Cannot paint", **told))
    inner = BundleError("Cannot load ids", **told)
    with pytest.raises(BundleError) as caught:
        load(inner)
    assert caught.value is inner


def test_what_no_file_leads_to_is_not_hidden():
    with pytest.raises(KeyboardInterrupt), loading("neighbours", got="folder=here", expected="weights"):
        raise KeyboardInterrupt
    with pytest.raises(AssertionError):
        load(AssertionError())


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_a_number_in_a_config_that_is_not_finite_is_refused(tmp_path, value):
    path = tmp_path / "blend.json"
    path.write_text(f'{{"weight": {value}}}')
    with pytest.raises(BundleError, match=f"it holds {value}, which is no finite number"):
        read_config(path)
