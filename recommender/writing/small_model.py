"""The small writer: a causal language model and a tokenizer of its own, trained on the shop's reviews from nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch

from core.settings.models import AugmentationSettings, SmallWriterSettings
from recommender.fitting.context import FitContext
from recommender.fitting.descent import descend
from recommender.fitting.device import autocast, choose_dtype, moved
from recommender.fitting.heads import check_heads
from recommender.inputs.augmentation import Augmenter
from recommender.writing.batches import perplexity, shuffled_batches, text_loss, tokenize
from recommender.writing.course import PART, Course, Meter, Trained
from recommender.writing.examples import WritingExample
from recommender.writing.writer import FeedbackWriter

END = "<|end|>"
PADDING = "<|padding|>"
WEIGHT_DECAY = 0.1
# GPT-2's, but that letters keep their marks: a token ends where a piece does, and Hindi words have marks within.
_PIECE = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}[\p{L}\p{M}]*| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer with a token for the end of a text and one for padding.

    Source: Sennrich, Haddow & Birch 2016; on bytes as in Radford et al. 2019.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECE), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, PADDING],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PADDING)


def new_small_writer(settings: SmallWriterSettings, examples: Sequence[WritingExample]) -> FeedbackWriter:
    """A writer that has learned nothing but its tokenizer, which it learns from the examples.

    Raises:
        SettingsError: the heads do not divide the width.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    check_heads("feedback writer", "writer", settings.width, settings.n_heads)
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


def _course(n_texts: int, settings: SmallWriterSettings) -> Course:
    n_batches = math.ceil(n_texts / settings.batch_size)
    return Course(min(settings.max_steps, settings.max_epochs * n_batches))


def train_small_writer(
    fit: FitContext,
    writer: FeedbackWriter,
    examples: Sequence[WritingExample],
    validation: Sequence[WritingExample],
    settings: SmallWriterSettings,
    augmentation: AugmentationSettings,
) -> Trained:
    """Run the steps, fewer where validation shows that more would gain little.

    Args:
        validation: Looked at from time to time; without any, the course is not shortened.
        augmentation: How prompts are perturbed, differently in each epoch.
    Raises:
        NotFinite: the loss or its gradient is NaN or infinite.
    """
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
    budget_s = None if settings.minutes is None or held is not None else 60 * settings.minutes
    meter = Meter(course, fit.progress, left_s=budget_s)
    writer.model.train()
    started = time.monotonic()
    step = epoch = 0
    augmenter = Augmenter(augmentation, fit.seed)
    while step < course.n_steps:
        epoch += 1
        if augmentation.perturb_words:
            rows = [tokenize(example, writer, augmenter.text) for example in examples]
        for batch in shuffled_batches(rows, size, writer.end, order):
            with autocast(fit.device, dtype):
                loss = text_loss(writer.model, moved(batch, fit.device)) / batch.n_targets
            step += 1
            meter.count(step, descend(PART, loss, optimiser, f"step {step}"), int(batch.real.sum()))
            schedule.step()
            if budget_s is not None:
                course.spend(step, (time.monotonic() - started) / budget_s)
            if validation and course.looks_after(step):
                writer.model.eval()
                course.look(step, math.log(perplexity(writer, validation)))
                writer.model.train()
            if step >= course.n_steps:
                break
    writer.model.eval()
    n_shown = min(course.n_steps * size, len(examples))
    few = "recipe.writer.max_steps, or fewer where more gain little"
    return Trained(epoch, course, n_shown, few, tuple(range(len(examples))))
