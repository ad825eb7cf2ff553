"""Causal language models by name or folder: what is loaded, what never runs, and what is said where there is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from recommender.encoders.embedded_model import LanguageModelError
from recommender.encoders.language_model import language_model_digest, load_language_model
from recommender.fitting.context import silent
from tests.unit.recommender.tiny_language_models import CHAT, write_gpt2, write_llama


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llama"))


def test_a_folder_is_loaded_with_its_chat_template(llama: Path) -> None:
    language = load_language_model(str(llama), None, silent)
    assert language.tokenizer.chat_template == CHAT
    assert language.model.config.model_type == "llama"
    assert not language.model.training
    assert language.digest == language_model_digest(str(llama)) != ""
    assert language.label == f"{llama.name}@{language.digest[:12]}"


def test_weights_come_in_the_type_that_is_asked_for(llama: Path) -> None:
    assert load_language_model(str(llama), None, silent, dtype=torch.bfloat16).model.dtype == torch.bfloat16


def test_other_files_are_another_digest(llama: Path, tmp_path: Path) -> None:
    other = write_llama(tmp_path / "other", seed=1)
    assert language_model_digest(str(other)) != language_model_digest(str(llama))
    shutil.copytree(llama, tmp_path / "copy")
    assert language_model_digest(str(tmp_path / "copy")) == language_model_digest(str(llama))
    assert language_model_digest(str(tmp_path / "absent")) == ""


def test_a_model_without_a_chat_template_has_none(tmp_path: Path) -> None:
    assert load_language_model(str(write_gpt2(tmp_path)), None, silent).tokenizer.chat_template is None


def test_a_model_of_the_hub_is_known_by_its_commit(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--somebody--tiny"
    shutil.copytree(llama, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    language = load_language_model("somebody/tiny", None, silent)
    assert (language.digest, language.label) == (commit, "somebody/tiny@0123456789ab")
    assert language_model_digest("somebody/tiny") == commit
    assert language_model_digest("somebody/other") == ""
    later = commit.replace("0", "f")
    shutil.copytree(llama, cached / "snapshots" / later)
    (cached / "refs" / "main").write_text(later)
    assert language_model_digest("somebody/tiny") == later


def test_code_of_a_repository_never_runs(llama: Path, tmp_path: Path) -> None:
    folder, trace = tmp_path / "model", tmp_path / "it-ran"
    shutil.copytree(llama, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "of-their-own", "auto_map": {"AutoModelForCausalLM": "theirs.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    with pytest.raises(LanguageModelError, match=f"model={folder}, expected"):
        load_language_model(str(folder), None, silent)
    assert not trace.exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LanguageModelError, match=f"model={tmp_path / 'nowhere'}, expected 'smollm2', or a folder"):
        load_language_model(str(tmp_path / "nowhere"), None, silent)


def test_a_name_that_is_not_at_hand_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(LanguageModelError, match="model=nobody/no-such-model, expected 'smollm2', or a folder or name"):
        load_language_model("nobody/no-such-model", None, silent)
