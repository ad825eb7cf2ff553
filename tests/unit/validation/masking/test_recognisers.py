"""Names of persons by a spaCy model that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from validation.errors import MaskError
from validation.masking.mask import PersonalDataMask
from validation.masking.recognisers import require_models


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that knows two names: what it recognises is not the point, the way through Presidio is."""
    import spacy

    pipeline = spacy.blank("en")
    ruler: Any = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PERSON", "pattern": "Ada King"}, {"label": "ORG", "pattern": "King Ltd"}])
    folder = tmp_path_factory.mktemp("model")
    pipeline.to_disk(folder)
    return str(folder)


def test_names_that_the_model_knows_are_masked_wherever_they_stand(model: str) -> None:
    mask = PersonalDataMask(("person", "email"), ("US",), (model,))
    assert mask.apply("it was Ada\u00a0King who wrote a@b.com")[0] == "it was <PERSON> who wrote <EMAIL>"
    assert mask.apply("made by King Ltd") == ("made by King Ltd", 0)
    assert PersonalDataMask(("person",), ("US",)).apply("it was Ada King") == ("it was Ada King", 0)


def test_with_a_model_every_text_is_a_suspect(model: str) -> None:
    assert PersonalDataMask(("person",), (), (model,)).suspect_sql("text") == "text IS NOT NULL"
    assert "IS NOT NULL" not in PersonalDataMask(("email",), (), (model,)).suspect_sql("text")


def test_a_model_that_is_not_there_or_knows_no_persons_is_an_error(tmp_path: Path) -> None:
    import spacy

    with pytest.raises(MaskError, match="person_models='no_such_model'"):
        require_models(["no_such_model"])
    spacy.blank("de").to_disk(tmp_path)
    with pytest.raises(MaskError, match="labels=none"):
        require_models([str(tmp_path)])
