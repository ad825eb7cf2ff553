"""Fit the feedback writer on the reviews of a training set: a small model from scratch, or any Hugging Face one."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from core import schema
from core.settings.models import AugmentationSettings, HuggingFaceWriterSettings, SmallWriterSettings
from core.storage import atomic_folder
from recommender.encoders.language_model import load_language_model
from recommender.fitting.context import FitContext
from recommender.fitting.descent import descend
from recommender.fitting.determinism import deterministic
from recommender.fitting.device import autocast, choose_dtype, moved
from recommender.fitting.schedule import rate_share
from recommender.fitting.summary import FitSummary, Progress
from recommender.inputs.augmentation import AS_THEY_ARE, Augmenter
from recommender.inputs.catalogue import Catalogue
from recommender.writing.batches import perplexity, shuffled_batches, text_loss, tokenize
from recommender.writing.examples import WritingExample, perplexity_sample, read_reviews, training_examples
from recommender.writing.writer import FeedbackWriter

PART = "feedback writer"
MIN_TRAIN_REVIEWS = 100
END = "<|end|>"
PADDING = "<|padding|>"
WEIGHT_DECAY = 0.1
WARM_UP_SHARE = 0.05
DESCENT_SHARE = 0.25
FINAL_RATE_SHARE = 0.1
LOOK_EVERY = 100
LEAST_GAIN = 0.02
N_REPORTS = 10


def fit_writer(
    fit: FitContext,
    target: Path,
    settings: SmallWriterSettings | HuggingFaceWriterSettings,
    augmentation: AugmentationSettings = AS_THEY_ARE,
) -> FitSummary | None:
    """Train on the reviews before the cut-off and write the component; no later review is trained on.

    Perplexity before and after is measured on samples of the validation and the test window. Where `fit.held` is given,
    the course is as it came out there, and nothing is looked at or measured.

    Args:
        target: The component's folder, written atomically.
        augmentation: How the training prompts are perturbed, differently in each epoch; texts stay as they are.
    Returns:
        None where the shop has fewer than 100 reviews to learn from: nothing is written then.
    Raises:
        TrainingDataError: catalogue or reviews cannot be read.
        LanguageModelError: the language model is not at hand.
        WriterError: it cannot see `max_tokens`.
    """
    started, fit = time.monotonic(), fit.afresh()
    catalogue = Catalogue.read(fit.training, fit.seed)
    reviews = read_reviews(fit.training, "train", catalogue)
    if len(reviews) < MIN_TRAIN_REVIEWS:
        fit.progress(f"feedback writer: none, for {len(reviews)} training reviews are fewer than {MIN_TRAIN_REVIEWS}")
        return None
    examples = training_examples(reviews)
    held = fit.held_summary()
    windows: tuple[schema.Split, ...] = () if held is not None else ("validation", "test")
    samples = {split: perplexity_sample(fit.training, split, catalogue) for split in windows}
    with deterministic(fit.seed, fit.threads):
        writer = _new_writer(fit, settings, examples)
        writer.model.to(fit.device)
        writer.perplexity_before = {split: perplexity(writer, rows) for split, rows in samples.items() if rows}
        validation = samples.get("validation", [])
        epochs, course = _train(fit, writer, examples, validation, settings, augmentation)
        read = min(course.n_steps * settings.batch_size, len(examples))
        fit.cap(
            "texts that the writer is shown", read, len(examples), "writer.max_steps, or fewer where more gain little"
        )
        after = {split: perplexity(writer, rows) for split, rows in samples.items() if rows}
        metrics = {f"{split}_perplexity": value for split, value in after.items()}
        metrics |= {f"{split}_perplexity_before": value for split, value in writer.perplexity_before.items()}
        summary = FitSummary(
            folder=target,
            epochs=epochs,
            best_epoch=epochs,
            metrics=metrics,
            seconds=time.monotonic() - started,
            choices=course.as_taken,
            caps=tuple(fit.caps),
        )
        with atomic_folder(target) as folder:
            writer.save(folder)
            summary.write(folder)
    figures = ", ".join(
        f"{split} perplexity {writer.perplexity_before[split]:.1f} -> {after[split]:.1f}" for split in after
    )
    fit.progress(f"feedback writer: {figures or 'no later reviews to measure on'}, {summary.seconds:.1f} s")
    return summary


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer with a token for the end of a text and one for padding.

    Source: Sennrich, Haddow & Birch 2016; on bytes as in Radford et al. 2019.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, PADDING],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PADDING)


def _new_writer(
    fit: FitContext, settings: SmallWriterSettings | HuggingFaceWriterSettings, examples: Sequence[WritingExample]
) -> FeedbackWriter:
    if isinstance(settings, HuggingFaceWriterSettings):
        language = load_language_model(settings.model, fit.models, fit.progress)
        return FeedbackWriter(language.model, language.tokenizer, settings.max_tokens)
    from transformers import GPT2Config, GPT2LMHeadModel

    # Prompts and texts as they will be met: a text follows its prompt behind a space.
    read = [f"{example.request.prompt} {example.text}" for example in examples]
    tokenizer = train_tokenizer(read, settings.vocabulary)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=settings.max_tokens,
        n_embd=settings.width,
        n_layer=settings.n_layers,
        n_head=settings.n_heads,
        # The same curve as GPT-2's own, in one kernel: a step is a fifth quicker.
        activation_function="gelu_pytorch_tanh",
        # So short a training sees each text hardly more than once: dropout would cost a fifth of the time for nothing.
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return FeedbackWriter(GPT2LMHeadModel(config), tokenizer, settings.max_tokens)


def _course(n_texts: int, settings: SmallWriterSettings | HuggingFaceWriterSettings) -> Course:
    n_batches = math.ceil(n_texts / settings.batch_size)
    return Course(min(settings.max_steps, settings.max_epochs * n_batches))


def _train(
    fit: FitContext,
    writer: FeedbackWriter,
    examples: Sequence[WritingExample],
    validation: Sequence[WritingExample],
    settings: SmallWriterSettings | HuggingFaceWriterSettings,
    augmentation: AugmentationSettings,
) -> tuple[int, Course]:
    """Run the steps, fewer where validation shows that more would gain little; the epochs begun, and the course."""
    held = fit.held_summary()
    course = _course(len(examples), settings) if held is None else Course.held(**held.choices)
    rows = [tokenize(example, writer) for example in examples]
    dtype, reason = choose_dtype("auto", fit.device)
    size = settings.batch_size
    fit.progress(f"feedback writer: {len(rows)} texts, at most {course.n_steps} steps of {size}, {reason}")
    optimiser = torch.optim.AdamW(
        writer.model.parameters(), lr=settings.learning_rate, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, course.rate_share)
    order = torch.Generator().manual_seed(fit.seed)
    meter = _Meter(course, fit.progress)
    writer.model.train()
    step = epoch = 0
    augmenter = Augmenter(augmentation, fit.seed)
    while step < course.n_steps:
        epoch += 1
        if augmentation.perturb_words:
            rows = [tokenize(example, writer, augmenter.text(example.request.prompt)) for example in examples]
        for batch in shuffled_batches(rows, size, writer.end, order):
            with autocast(fit.device, dtype):
                loss = text_loss(writer.model, moved(batch, fit.device)) / batch.n_targets
            step += 1
            meter.count(step, descend(PART, loss, optimiser, f"step {step}"), int(batch.real.sum()))
            schedule.step()
            if validation and course.looks_after(step):
                writer.model.eval()
                course.look(step, math.log(perplexity(writer, validation)))
                writer.model.train()
            if step == course.n_steps:
                break
    writer.model.eval()
    return epoch, course


class Course:
    """The learning rate over a training: a warm-up, then constant, then a linear descent to a tenth at the last step.

    The descent begins in time for `n_steps`, or as soon as a look at validation shows that the constant rate gains
    little more; the training is the shorter then.

    Args:
        n_steps: Steps at most.
    Source: warm-up, stable, decay of Hu et al. 2024 (MiniCPM), section 4.
    """

    def __init__(self, n_steps: int) -> None:
        self.n_steps = n_steps
        self._warm_up = max(1, round(n_steps * WARM_UP_SHARE))
        self._descent_at = n_steps - round(n_steps * DESCENT_SHARE)
        self._best = math.inf

    @classmethod
    def held(cls, n_steps: int, warm_up: int, descent_at: int) -> Course:
        """The course as another training took it."""
        course = cls(n_steps)
        course._warm_up, course._descent_at = warm_up, descent_at
        return course

    @property
    def as_taken(self) -> dict[str, int]:
        """What `held` needs, once training is over."""
        return {"n_steps": self.n_steps, "warm_up": self._warm_up, "descent_at": self._descent_at}

    def rate_share(self, step: int) -> float:
        """Share of the learning rate at a step."""
        return rate_share(step, self._warm_up, self._descent_at, self.n_steps, FINAL_RATE_SHARE)

    def looks_after(self, step: int) -> bool:
        """Whether to look at validation after so many steps."""
        return step % LOOK_EVERY == 0 and self._warm_up <= step < self._descent_at

    def look(self, step: int, loss: float) -> None:
        """Take in the validation loss (nats a token) after so many steps; begin the descent if it gained too little."""
        if self._best - loss < LEAST_GAIN:
            self._descent_at = step
            self.n_steps = min(self.n_steps, step + max(1, round(step * DESCENT_SHARE)))
        self._best = min(self._best, loss)


class _Meter:
    """Says how training goes, about every tenth of its steps."""

    def __init__(self, course: Course, progress: Progress) -> None:
        self.course, self.progress = course, progress
        self.every = max(1, course.n_steps // N_REPORTS)
        self.started = time.monotonic()
        self.loss = self.n_losses = self.n_tokens = 0.0

    def count(self, step: int, loss: float, n_tokens: int) -> None:
        self.loss += loss
        self.n_losses += 1
        self.n_tokens += n_tokens
        n_steps = self.course.n_steps
        if step % self.every == 0 or step == n_steps:
            passed = time.monotonic() - self.started
            self.progress(
                f"feedback writer step {step}/{n_steps}: loss {self.loss / self.n_losses:.3f}, "
                f"{self.n_tokens / passed:.0f} tokens/s, {passed / step * (n_steps - step):.0f} s to go"
            )
            self.loss = self.n_losses = 0.0
