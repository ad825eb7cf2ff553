"""Fine-tuning a pretrained language model: what is learned, kept, gone on from, and put back onto its base."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.settings.models import AugmentationSettings, LanguageModelWriterSettings
from core.storage import file_digest
from recommender.encoders.embedded_model import LanguageModelError
from recommender.encoders.language_model import language_model_digest
from recommender.errors import BundleError, NotFinite, RecommenderError
from recommender.fitting.context import FitContext
from recommender.fitting.summary import FitSummary
from recommender.writing import language_training
from recommender.writing import training as fitting
from recommender.writing.batches import likelihood
from recommender.writing.decoding import Decoding, WriterError
from recommender.writing.examples import WritingExample, read_reviews, sample, sample_by_lot
from recommender.writing.training import fit_writer
from recommender.writing.writer import FeedbackWriter
from tests.unit.recommender.encoders.test_embedded_model import install
from tests.unit.recommender.tiny_language_models import write_gguf, write_gpt2, write_llama
from tests.unit.recommender.written_shop import catalogue_of, write_reviews


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("shop"), n_train=120)


@pytest.fixture(scope="module")
def words(training: Path) -> list[str]:
    return [example.text for example in read_reviews(training, "train", catalogue_of(training))]


@pytest.fixture(scope="module")
def llama(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llama"), texts=words)


def settings_of(model: Path | str, **more: Any) -> LanguageModelWriterSettings:
    given = {"max_steps": 6, "trained_layers": 2, "lora_rank": 4, "step_tokens": 512, "minutes": None}
    return LanguageModelWriterSettings(model=str(model), **{"learning_rate": 1e-2, **given, **more})


def fit(training: Path, target: Path, settings: LanguageModelWriterSettings, seed: int = 1, **more: Any) -> FitSummary:
    augmentation = more.pop("augmentation", AugmentationSettings())
    summary = fit_writer(FitContext(training, seed, threads=1, **more), target, settings, augmentation)
    assert summary is not None
    return summary


@pytest.fixture(scope="module")
def fitted(training: Path, llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("fit") / "writer"
    fit(training, target, settings_of(llama, max_steps=25, trained_layers=3))
    return target


def test_it_learns_to_expect_reviews_it_never_saw(training: Path, fitted: Path) -> None:
    metrics = FitSummary.read(fitted).metrics
    assert metrics["test_perplexity"] < 0.3 * metrics["test_perplexity_before"]
    assert metrics["test_bits_per_byte"] < 0.8 * metrics["test_bits_per_byte_before"]
    writer = FeedbackWriter.load(fitted)
    found = likelihood(writer, sample(read_reviews(training, "test", catalogue_of(training)), writer.n_measured))
    assert found.perplexity == pytest.approx(metrics["test_perplexity"], rel=1e-2)
    assert found.bits_per_byte == pytest.approx(metrics["test_bits_per_byte"], rel=1e-2)
    assert writer.perplexity_before["test"] == metrics["test_perplexity_before"]


def test_a_bundle_holds_what_was_added_and_says_to_what(fitted: Path, llama: Path) -> None:
    names = {"adapter.safetensors", "runs.safetensors", "mentions.json", "writer.json", "summary.json"}
    assert {path.name for path in fitted.iterdir()} == names
    said = json.loads((fitted / "writer.json").read_text())
    digest = language_model_digest(str(llama))
    assert said["adapter"] == {"base": str(llama), "digest": digest, "layers": 3, "rank": 4}
    assert said["style"] == "plain"


def test_loaded_it_writes_and_keeps_what_a_prompt_is(training: Path, fitted: Path) -> None:
    writer = FeedbackWriter.load(fitted)
    requests = [example.request for example in read_reviews(training, "test", catalogue_of(training))][:3]
    texts = writer.write(requests, seed=2, decoding=Decoding(12))
    assert texts == FeedbackWriter.load(fitted).write(requests, seed=2, decoding=Decoding(12))
    assert all(text and text[0].isalpha() and text[-1] in ".!?\"'”’)" for text in texts)
    assert writer.prompts.style == "plain"


# Of float32: CPUs without bfloat16 add the same products up in another order.
ROUNDING = 1e-4


def test_it_writes_with_eight_bits_and_with_full_weights_where_that_is_set(fitted: Path, tmp_path: Path) -> None:
    def written_with(folder: Path) -> tuple[str, torch.Tensor]:
        lines: list[str] = []
        writer = FeedbackWriter.load(folder, progress=lines.append)
        with torch.inference_mode():
            scores = writer._next_token.begin([[5, 6, 7]], 1).scores
            own = writer.model(torch.tensor([[5, 6, 7]])).logits[:, -1]
        return " ".join(lines), (scores - own.float()).abs().max()

    said, off = written_with(fitted)
    assert "feedback writer: writes with weights of eight bits" in said
    assert ROUNDING < off < 0.3
    full = tmp_path / "full"
    shutil.copytree(fitted, full)
    config = json.loads((full / "writer.json").read_text())
    assert config["decoding_weights"] == "auto"
    (full / "writer.json").write_text(json.dumps(config | {"decoding_weights": "full"}))
    said, off = written_with(full)
    assert said == ""
    assert off < ROUNDING


def test_what_it_was_shown_is_not_copied(training: Path, llama: Path, tmp_path: Path) -> None:
    fit(training, tmp_path / "writer", settings_of(llama, max_steps=1))
    runs = FeedbackWriter.load(tmp_path / "writer").runs
    texts = {example.text for example in read_reviews(training, "train", catalogue_of(training))}
    copied = [text for text in texts if runs.holds_too_much(text)]
    assert 0 < len(copied) < len(texts), "one step shows it some of the texts"


@pytest.mark.parametrize(("write", "prompt"), [(write_llama, "chat"), (write_gpt2, "plain")])
def test_other_models_and_chats_go_the_same_way(
    training: Path, words: list[str], tmp_path: Path, write: Any, prompt: str
) -> None:
    model = write(tmp_path / "model", texts=words)
    summary = fit(training, tmp_path / "writer", settings_of(model, prompt=prompt, max_steps=10, learning_rate=3e-2))
    assert summary.metrics["test_perplexity"] < 0.9 * summary.metrics["test_perplexity_before"]
    assert FeedbackWriter.load(tmp_path / "writer").prompts.style == prompt


def test_all_layers_can_be_trained(training: Path, llama: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    fit(training, tmp_path / "writer", settings_of(llama, trained_layers=0, max_steps=2), progress=lines.append)
    assert any(line.endswith("0 frozen layers") for line in lines)
    assert json.loads((tmp_path / "writer" / "writer.json").read_text())["adapter"]["layers"] == 4


def test_one_seed_gives_the_same_bytes_and_another_one_others(training: Path, llama: Path, tmp_path: Path) -> None:
    digests = []
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        fit(training, tmp_path / name, settings_of(llama), seed)
        digests.append(file_digest(tmp_path / name / "adapter.safetensors"))
    assert digests[0] == digests[1] != digests[2]


def test_later_reviews_are_never_trained_on(llama: Path, tmp_path: Path) -> None:
    digests = set()
    for n_later in (0, 20):
        shop = write_reviews(tmp_path / f"shop{n_later}", n_train=110, n_later=n_later)
        fit(shop, tmp_path / f"writer{n_later}", settings_of(llama))
        digests.add(file_digest(tmp_path / f"writer{n_later}" / "adapter.safetensors"))
    assert len(digests) == 1


def test_perturbed_prompts_teach_something_else(training: Path, llama: Path, tmp_path: Path) -> None:
    digests = set()
    for share in (0.0, 0.9):
        target = tmp_path / f"writer{share}"
        fit(training, target, settings_of(llama), augmentation=AugmentationSettings(perturb_words=share))
        digests.add(file_digest(target / "adapter.safetensors"))
    assert len(digests) == 2


def test_a_killed_fit_goes_on_and_ends_with_the_same_bytes(
    training: Path, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More steps than there are packs: states that were kept are computed again.
    settings = settings_of(llama, max_steps=16, step_tokens=1024)
    fit(training, tmp_path / "undisturbed", settings)
    monkeypatch.setattr(language_training, "CHECKPOINT_EVERY_S", 0.0)

    def stop(line: str) -> None:
        if "step 12/" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(training, tmp_path / "killed", settings, progress=stop)
    assert (tmp_path / "killed.checkpoint").is_dir()
    assert not (tmp_path / "killed").exists()
    lines: list[str] = []
    fit(training, tmp_path / "killed", settings, progress=lines.append)
    assert "feedback writer: went on from step 11, kept in killed.checkpoint" in lines
    names = ("adapter.safetensors", "writer.json")
    killed, undisturbed = ([file_digest(tmp_path / end / name) for name in names] for end in ("killed", "undisturbed"))
    assert killed == undisturbed
    assert not (tmp_path / "killed.checkpoint").exists()


@pytest.mark.parametrize("minutes", [None, 0.2])
def test_a_fit_that_is_killed_before_it_is_saved_has_nothing_to_learn_again(
    training: Path, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: float | None
) -> None:
    a_second_passes_with_every_look(monkeypatch)
    monkeypatch.setattr(fitting, "time", SimpleNamespace(monotonic=lambda: 0.0))
    settings = settings_of(llama, max_steps=16, minutes=minutes)
    fit(training, tmp_path / "undisturbed", settings)
    measure, lines = fitting.likelihoods, list[str]()

    def killed_after_training(*arguments: Any) -> Any:
        if any(": loss " in line for line in lines):
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(fitting, "likelihoods", killed_after_training)
    with pytest.raises(KeyboardInterrupt):
        fit(training, tmp_path / "writer", settings, progress=lines.append)
    assert not (tmp_path / "writer").exists()
    monkeypatch.setattr(fitting, "likelihoods", measure)
    lines.clear()
    summary = fit(training, tmp_path / "writer", settings, progress=lines.append)
    assert f"went on from step {summary.choices['n_steps']}, kept" in "".join(lines)
    assert not [line for line in lines if ": loss " in line], "no step is taken anew"
    assert not (tmp_path / "writer.checkpoint").exists()
    names = ("adapter.safetensors", "writer.json")
    again, undisturbed = ([file_digest(tmp_path / end / name) for name in names] for end in ("writer", "undisturbed"))
    assert again == undisturbed


def test_measuring_ends_with_its_share_of_the_time_and_says_on_how_much(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = write_reviews(tmp_path / "shop", n_train=120, n_later=80)
    now = [0.0]
    measured: list[list[WritingExample]] = []
    # A text takes half a second before training; after it the machine is busy, and each takes three quarters.
    measure, took = fitting.likelihoods, {"s": 0.5}

    def slowly(writer: FeedbackWriter, examples: list[WritingExample]) -> Any:
        measured.append(list(examples))
        now[0] += took["s"] * len(examples)
        return measure(writer, examples)

    def progress(line: str) -> None:
        if "frozen layers" in line:
            took["s"] = 0.75
        lines.append(line)

    lines: list[str] = []
    monkeypatch.setattr(fitting, "likelihoods", slowly)
    for module in (fitting, language_training):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    # Six seconds a window and 32 reviews of each: room for 24 of 12 s before (4 min), and for 16 after.
    summary = fit(training, tmp_path / "writer", settings_of(llama, minutes=4.0), progress=progress)
    assert [len(texts) for texts in measured] == [8] * 10
    assert [summary.metrics[f"{split}_reviews_measured"] for split in ("validation", "test")] == [16, 16]
    said = [cap.sentence() for cap in summary.caps if "measured" in cap.what]
    rule = "window that the writer is measured on: 16 of 32, by a tenth of recipe.writer.minutes"
    assert said == [f"reviews of the {split} {rule}" for split in ("validation", "test")]
    assert "of 16 of 40 reviews, test perplexity" in lines[-1]
    # Both figures are of the same texts, which are those that the report measures again.
    writer = FeedbackWriter.load(tmp_path / "writer")
    assert writer.measured_on == {"validation": 16, "test": 16}
    of_test = sample_by_lot(read_reviews(training, "test", catalogue_of(training)), writer.n_measured)[:16]
    assert [*measured[-2], *measured[-1]] == of_test == [*measured[3], *measured[4]]
    assert likelihood(writer, of_test).perplexity == pytest.approx(summary.metrics["test_perplexity"], rel=1e-2)


def test_without_a_limit_of_time_the_whole_sample_is_measured(
    training: Path, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_second_passes_with_every_look(monkeypatch, fitting)
    summary = fit(training, tmp_path / "writer", settings_of(llama))
    assert [summary.metrics[f"{split}_reviews_measured"] for split in ("validation", "test")] == [10, 10]
    assert not [cap for cap in summary.caps if "measured" in cap.what]


@pytest.mark.parametrize("error", [NotFinite, BundleError, None])
def test_what_cannot_be_saved_is_not_gone_on_from(
    training: Path, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[RecommenderError] | None
) -> None:
    def fail(*_: Any) -> None:
        assert (tmp_path / "writer.checkpoint").is_dir()
        if error is None:
            raise OSError("a weight")
        raise error("Cannot save", got="a weight", expected="a finite one", do="Fit it again")

    monkeypatch.setattr(FeedbackWriter, "save", fail)
    with pytest.raises(error or OSError, match="a weight"):
        fit(training, tmp_path / "writer", settings_of(llama, max_steps=1))
    # A full disk says nothing of what was learned.
    assert (tmp_path / "writer.checkpoint").is_dir() is (error is None)


def test_a_checkpoint_of_other_settings_is_not_taken_up(
    training: Path, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language_training, "CHECKPOINT_EVERY_S", 0.0)

    def stop(line: str) -> None:
        if "step 3/" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(training, tmp_path / "writer", settings_of(llama), progress=stop)
    lines: list[str] = []
    fit(training, tmp_path / "writer", settings_of(llama, learning_rate=1e-3), progress=lines.append)
    assert not [line for line in lines if "went on" in line]


def a_second_passes_with_every_look(monkeypatch: pytest.MonkeyPatch, module: Any = language_training) -> None:
    clock = itertools.count()
    fake = SimpleNamespace(monotonic=lambda: float(next(clock)))
    monkeypatch.setattr(module, "time", fake)


def test_training_ends_with_its_time_and_says_after_how_many_steps(
    training: Path, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_second_passes_with_every_look(monkeypatch)
    lines: list[str] = []
    settings = settings_of(llama, max_steps=500, max_epochs=1000, minutes=0.2)
    summary = fit(training, tmp_path / "writer", settings, progress=lines.append)
    assert summary.choices == {"n_steps": 12, "warm_up": 10, "descent_at": 9}
    assert any("step 12/12" in line for line in lines)
    # The refit takes the steps over, and does not look at the clock.
    refit = fit(training, tmp_path / "refit", settings_of(llama, max_steps=500, minutes=9), held=tmp_path / "writer")
    assert (refit.choices, refit.metrics) == (summary.choices, {})
    names = [file_digest(tmp_path / name / "adapter.safetensors") for name in ("writer", "refit")]
    assert names[0] == names[1]


@pytest.mark.parametrize("step_tokens", [512, 4096, 10**6])
def test_few_texts_are_not_learned_by_heart(
    training: Path, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_tokens: int
) -> None:
    packs: list[int] = []
    pack = language_training.pack_examples

    def counted(*arguments: Any) -> Any:
        packs.append(len(made := pack(*arguments)))
        return made

    monkeypatch.setattr(language_training, "pack_examples", counted)
    lines: list[str] = []
    settings = settings_of(llama, max_steps=500, max_epochs=2, step_tokens=step_tokens)
    summary = fit(training, tmp_path / "writer", settings, progress=lines.append)
    (said,) = [line for line in lines if "texts in" in line]
    n_packs = int(said.split("steps of ")[1].split()[0])
    assert 2 * packs[0] - n_packs < summary.choices["n_steps"] * n_packs <= 2 * packs[0]


def test_time_that_a_killed_fit_spent_is_spent(
    training: Path, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language_training, "CHECKPOINT_EVERY_S", 0.0)
    a_second_passes_with_every_look(monkeypatch)

    def stop(line: str) -> None:
        if "step 5/" in line:
            raise KeyboardInterrupt

    settings = settings_of(llama, max_steps=10, minutes=0.2)
    with pytest.raises(KeyboardInterrupt):
        fit(training, tmp_path / "writer", settings, progress=stop)
    summary = fit(training, tmp_path / "writer", settings)
    assert summary.choices["descent_at"] in (8, 9)


def test_too_many_texts_are_said_to_be_left_out(training: Path, llama: Path, tmp_path: Path) -> None:
    (cap,) = fit(training, tmp_path / "writer", settings_of(llama, max_steps=1)).caps
    assert 0 < cap.taken < cap.there
    assert cap.by == "recipe.writer.max_steps or recipe.writer.minutes"
    assert not fit(training, tmp_path / "all", settings_of(llama, max_steps=60)).caps


def test_without_its_base_model_a_writer_is_not_loaded(fitted: Path, llama: Path, tmp_path: Path) -> None:
    copy = tmp_path / "writer"
    shutil.copytree(fitted, copy)
    said = json.loads((copy / "writer.json").read_text())
    said["adapter"]["base"] = str(tmp_path / "gone")
    (copy / "writer.json").write_text(json.dumps(said))
    with pytest.raises(BundleError, match=f"Cannot load feedback writer: model={tmp_path / 'gone'}, expected"):
        FeedbackWriter.load(copy)
    write_llama(tmp_path / "gone", seed=5)
    with pytest.raises(BundleError, match=r"model=gone@.*, expected the one that it was fine-tuned from"):
        FeedbackWriter.load(copy)


def test_damaged_additions_are_named(fitted: Path, tmp_path: Path) -> None:
    copy = tmp_path / "writer"
    shutil.copytree(fitted, copy)
    (copy / "adapter.safetensors").write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"folder=.*, expected what was added to a model.*adapter\.safetensors"):
        FeedbackWriter.load(copy)


def test_the_embedded_model_is_a_base_and_stays_one_after_an_upgrade(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    install(monkeypatch, write_gguf(tmp_path / "old.gguf"))
    fit(training, tmp_path / "writer", settings_of("smollm2", max_steps=2), models=models)
    expected = FeedbackWriter.load(tmp_path / "writer", models=models)
    install(monkeypatch, write_gguf(tmp_path / "new.gguf", seed=1), "2.0")
    reviews = read_reviews(training, "test", catalogue_of(training))
    after = FeedbackWriter.load(tmp_path / "writer", models=models)
    assert likelihood(after, reviews) == likelihood(expected, reviews)
    with pytest.raises(BundleError, match=r"model=smollm2@.*, expected the one that it was fine-tuned from"):
        FeedbackWriter.load(tmp_path / "writer", models=tmp_path / "elsewhere")


def test_what_is_not_there_stops_the_fit(training: Path, llama: Path, tmp_path: Path) -> None:
    with pytest.raises(LanguageModelError, match="nowhere"):
        fit(training, tmp_path / "writer", settings_of(tmp_path / "nowhere"))
    mute = write_gpt2(tmp_path / "mute")
    with pytest.raises(WriterError, match="prompt=chat, expected a tokenizer with a chat template"):
        fit(training, tmp_path / "writer", settings_of(mute, prompt="chat"))
    with pytest.raises(WriterError, match="max_tokens=300, expected at most the 256 positions"):
        fit(training, tmp_path / "writer", settings_of(llama, max_tokens=300))
    assert not (tmp_path / "writer").exists()


def test_a_fit_that_diverges_ends_at_once_and_leaves_no_component(training: Path, llama: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFinite, match=r"Cannot fit feedback writer: (loss|length of the gradient)=(nan|inf)"):
        fit(training, tmp_path / "writer", settings_of(llama, learning_rate=1e30))
    assert not (tmp_path / "writer").exists()


@pytest.mark.slow
def test_the_embedded_model_expects_reviews_better_after_some_steps(embedded_models: Path, tmp_path: Path) -> None:
    shop = write_reviews(tmp_path / "shop", n_train=120)
    settings = LanguageModelWriterSettings(max_steps=8, minutes=None)
    summary = fit(shop, tmp_path / "writer", settings, models=embedded_models)
    assert summary.metrics["test_bits_per_byte"] < 0.8 * summary.metrics["test_bits_per_byte_before"]
    assert sum(path.stat().st_size for path in (tmp_path / "writer").iterdir()) < 20_000_000
