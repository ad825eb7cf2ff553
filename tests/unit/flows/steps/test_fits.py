"""What decides a fit beside its settings: the files of a model that the settings name."""

import pytest

from core.settings.models import (
    CrossEncoderSettings,
    EncoderSettings,
    LanguageModelWriterSettings,
    SmallWriterSettings,
)
from core.storage import file_digest
from flows.steps.fits import model_digest
from recommender.encoders import language_model
from recommender.encoders.embedded_model import find_weights
from recommender.encoders.origin import encoder_digest


def test_a_model_that_changes_in_its_folder_is_another_input(tmp_path):
    (tmp_path / "part").mkdir()
    weights = tmp_path / "part" / "model.safetensors"
    weights.write_bytes(b"one")
    settings = LanguageModelWriterSettings(model=str(tmp_path))
    before = model_digest(settings)
    assert model_digest(settings) == before != ""
    weights.write_bytes(b"two")
    assert model_digest(settings) != before


@pytest.mark.parametrize(
    ("name", "decides"),
    [
        ("README.md", False),
        (".gitattributes", False),
        (".cache/huggingface/download/config.json.metadata", False),
        ("pictures/curve.PNG", False),
        ("vocab.txt", True),
        ("chat_template.jinja", True),
    ],
)
def test_what_transformers_does_not_read_of_a_folder_decides_nothing(tmp_path, name, decides):
    (tmp_path / ".hidden" / "model").mkdir(parents=True)
    folder = tmp_path / ".hidden" / "model"  # where the folder lies says nothing of its files
    (folder / "model.safetensors").write_bytes(b"one")
    settings = EncoderSettings(model=str(folder))
    before = model_digest(settings)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("more")
    assert (model_digest(settings) != before) == decides


def test_the_embedded_language_model_is_known_by_its_weights():
    digest = model_digest(LanguageModelWriterSettings(model="smollm2"))
    assert digest == file_digest(find_weights().file)


def test_the_packaged_text_encoder_is_known_by_its_files_which_are_read_once(monkeypatch):
    read = []
    monkeypatch.setattr(language_model, "file_digest", lambda file: read.append(file.name) or file_digest(file))
    language_model._digest_once.cache_clear()
    digest = model_digest(EncoderSettings())
    assert digest == model_digest(EncoderSettings()) == encoder_digest(EncoderSettings()) != ""
    assert read.count("model.safetensors") == 1


@pytest.mark.parametrize("settings", [EncoderSettings, CrossEncoderSettings, LanguageModelWriterSettings])
def test_a_model_of_the_hub_is_known_by_the_commit_that_would_be_loaded(tmp_path, monkeypatch, settings):
    cached = tmp_path / "models--someone--model"
    (cached / "refs").mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for commit in ("0" * 40, "1" * 40):
        (cached / "snapshots" / commit).mkdir(parents=True)
        (cached / "snapshots" / commit / "config.json").write_text("{}")
        (cached / "refs" / "main").write_text(commit)
        assert model_digest(settings(model="someone/model")) == commit


def test_a_small_model_and_what_is_not_at_hand_have_no_files_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert model_digest(SmallWriterSettings()) == ""
    assert model_digest(LanguageModelWriterSettings(model="someone/model")) == ""
    assert model_digest(LanguageModelWriterSettings(model=str(tmp_path / "absent"))) == ""
