"""Two models are never made at once: transformers changes the whole process for the while."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers

from core.settings.models import EncoderSettings
from recommender.encoders import embedded_model
from recommender.encoders.encoder import EncoderError, TextEncoder
from recommender.encoders.language_model import LanguageModelError, read_language_model
from recommender.fitting.pretrained import MAKING_A_MODEL
from recommender.scoring import cross_encoder


def _encoder(folder: Path) -> Any:
    return TextEncoder.load(EncoderSettings(model=str(folder)), print)


def _language_model(folder: Path) -> Any:
    return read_language_model(str(folder), "tiny")


def _embedded_model(folder: Path) -> Any:
    return embedded_model._convert(folder / "weights.gguf", folder / "made")


def _cross_encoder(folder: Path) -> Any:
    return cross_encoder._load_pretrained(str(folder))


@pytest.mark.parametrize("load", [_encoder, _language_model, _embedded_model, _cross_encoder])
def test_one_is_made_at_a_time(load: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[bool] = []

    def make(*_: object, **__: object) -> Any:
        alone.append(MAKING_A_MODEL.locked())
        raise OSError("no")

    for name in ("AutoModel", "AutoModelForCausalLM"):
        monkeypatch.setattr(getattr(transformers, name), "from_pretrained", make)
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: None)
    with pytest.raises((OSError, EncoderError, LanguageModelError)):
        load(tmp_path)
    assert alone == [True]
    assert not MAKING_A_MODEL.locked()
