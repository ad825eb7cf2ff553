"""Who looks for personal data: the data gate's mask, and plain Presidio with its default recognizers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.settings.validation import PERSONAL_DATA, CleaningSettings
from validation.masking.mask import PersonalDataMask


@dataclass(frozen=True)
class Spotted:
    """What a contender takes for personal data."""

    start: int
    end: int
    kind: str


Contender = Callable[[str, str], list[Spotted]]  # of a language and a text


def mask(person_models: tuple[str, ...] = ()) -> Contender:
    """The mask with the default settings; it is not told the language."""
    of_settings = PersonalDataMask(PERSONAL_DATA, CleaningSettings().regions, person_models)
    return lambda _, text: [Spotted(one.start, one.end, one.kind) for one in of_settings.find(text)]


def presidio(min_score: float) -> Contender:
    """Presidio's analyzer with the pattern recognizers that it loads by default, told the language of each text.

    It has no language model here, since none comes with a package: names are out of its reach.

    Args:
        min_score: Results below do not count.
    """
    import spacy
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    languages = ["en", "de", "fr", "es", "it"]
    engine = SpacyNlpEngine([{"lang_code": language, "model_name": language} for language in languages])
    engine.nlp = {language: spacy.blank(language) for language in languages}
    registry = RecognizerRegistry(supported_languages=languages)
    registry.load_predefined_recognizers(languages=languages, nlp_engine=engine)
    registry.recognizers = [one for one in registry.recognizers if "Spacy" not in one.name]
    _keep_offline()
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=languages)

    def find(language: str, text: str) -> list[Spotted]:
        found = analyzer.analyze(text, language, score_threshold=min_score)
        return [Spotted(one.start, one.end, one.entity_type) for one in found]

    return find


def _keep_offline() -> None:
    """The list of domains that comes with tldextract, instead of one that it would fetch."""
    import tldextract
    from presidio_analyzer.predefined_recognizers.generic import email_recognizer

    module: Any = email_recognizer
    module.tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
