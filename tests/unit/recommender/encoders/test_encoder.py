import numpy as np
import pytest
import torch

from core.settings.models import EncoderSettings
from recommender.encoders.encoder import EncoderError, TextEncoder, choose_dtype, model_source, names_path
from tests.unit.recommender.tiny_shop import save_tiny_encoder

TEXTS = ["green tea", "", "a", "black tea from assam in a tin", "  ", "oolong"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> TextEncoder:
    folder = save_tiny_encoder(tmp_path_factory.mktemp("models") / "tiny")
    settings = EncoderSettings(model=str(folder), max_tokens=16, batch_size=2, precision="float32")
    return TextEncoder.load(settings, print)


def test_vectors_come_in_the_order_of_the_texts(encoder):
    together = encoder.encode(TEXTS, print)
    alone = np.concatenate([encoder.encode([text], print) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert together.dtype == np.float32
    assert together.shape == (len(TEXTS), encoder.width)


def test_a_vector_is_the_mean_over_tokens_with_length_one(encoder):
    tokens = encoder.tokenizer("green tea", return_tensors="pt")
    with torch.inference_mode():
        mean = encoder.model(**tokens).last_hidden_state[0].mean(dim=0).numpy()
    np.testing.assert_allclose(encoder.encode(["green tea"], print)[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_an_empty_text_is_the_zero_vector(encoder):
    lengths = np.linalg.norm(encoder.encode(TEXTS, print), axis=1)
    np.testing.assert_allclose(lengths, [1, 0, 1, 1, 0, 1], atol=1e-6)


def test_token_vectors_are_those_of_the_texts_own_tokens_in_any_batch(encoder):
    found = encoder.token_vectors(["green tea", "", "a ☕ b"])
    tokens = encoder.tokenizer("green tea", return_tensors="pt")
    with torch.inference_mode():
        states = encoder.model(**tokens).last_hidden_state[0, 1:-1]
    np.testing.assert_allclose(found[0], torch.nn.functional.normalize(states, dim=-1).numpy(), atol=1e-5)
    assert [len(one) for one in found] == [8, 0, 3], "an unknown token is one of the text's own"
    assert encoder.token_vectors([]) == []


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(EncoderError, match="nowhere"):
        model_source(str(tmp_path / "nowhere"))


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(EncoderError, match=str(tmp_path)):
        TextEncoder.load(EncoderSettings(model=str(tmp_path)), print)


def test_a_name_that_is_not_at_hand_is_named(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match=r"recipe\.encoder\.model=no-such-encoder-at-all"):
        TextEncoder.load(EncoderSettings(model="no-such-encoder-at-all"), print)


def test_the_choice_of_arithmetic_says_why(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert choose_dtype("auto") == (torch.bfloat16, "bfloat16 (the CPU has amx_bf16)")
    assert choose_dtype("float32")[0] == torch.float32
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert choose_dtype("auto")[0] == torch.float32
    assert choose_dtype("bfloat16")[0] == torch.bfloat16


def test_the_packaged_model_knows_what_is_alike():
    encoder = TextEncoder.load(EncoderSettings(precision="float32"), print)
    tea, brew, drill = encoder.encode(["green tea leaves", "a brew of sencha", "cordless power drill"], print)
    assert tea @ brew > tea @ drill + 0.2


@pytest.mark.parametrize("name", ["./model", "/models/minilm", "~/model", "some/folder/of/mine"])
def test_a_path_is_told_from_a_name_of_the_hub(name: str) -> None:
    assert names_path(name)
    assert not names_path("sentence-transformers/all-MiniLM-L6-v2")
    assert not names_path("minilm")
