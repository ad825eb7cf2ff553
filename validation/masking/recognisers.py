"""Names of persons by a spaCy model that the settings name and that is installed, through Presidio's recognizer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from validation.errors import MaskError
from validation.masking.marks import Span


def find_names(text: str, models: Sequence[str]) -> list[Span]:
    """What any of the models takes for the name of a person.

    Raises:
        MaskError: a model is not installed, or recognises no persons.
    """
    return [span for model in models for span in _find(text, model)]


def require_models(models: Sequence[str]) -> None:
    """Load the models.

    Raises:
        MaskError: a model is not installed, or recognises no persons.
    """
    for model in models:
        _load(model)


def _find(text: str, model: str) -> list[Span]:
    engine, recognizer = _load(model)
    artifacts = engine.process_text(text, recognizer.supported_language)
    return [(one.start, one.end) for one in recognizer.analyze(text, ["PERSON"], artifacts)]


@cache
def _load(model: str) -> tuple[Any, Any]:
    """A model in Presidio's engine, and the recognizer that reads what it found."""
    import spacy.util
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    known = "person_models names spaCy models"
    try:
        pipeline = spacy.load(model)  # never by Presidio, which would fetch what is missing
    except (OSError, ValueError) as error:
        raise MaskError(
            "Cannot load the model that recognises names",
            got=f"person_models={model!r}: {str(error).splitlines()[0][:150]}",
            expected="an installed spaCy model or a folder with one",
            where="recipe.validation.cleaning.person_models",
            do=f"Install it (pip install of its wheel), or leave it out of {known}",
        ) from error
    labels = {label for name in pipeline.pipe_names for label in getattr(pipeline.get_pipe(name), "labels", ())}
    if not labels & {"PERSON", "PER", "persName"}:
        raise MaskError(
            "The model recognises no persons",
            got=f"person_models={model!r}, labels={', '.join(sorted(map(str, labels))[:8]) or 'none'}",
            expected="a spaCy model with the label PERSON or PER",
            where="recipe.validation.cleaning.person_models",
            do="Name a model with a named-entity recogniser",
        )
    names = NerModelConfiguration(
        model_to_presidio_entity_mapping={"PERSON": "PERSON", "PER": "PERSON", "persName": "PERSON"},
        labels_to_ignore=[label for label in labels if label not in ("PERSON", "PER", "persName")],
    )
    language = pipeline.lang
    engine = SpacyNlpEngine([{"lang_code": language, "model_name": model}], names)
    engine.nlp = {language: pipeline}
    return engine, SpacyRecognizer(supported_language=language, supported_entities=["PERSON"])
