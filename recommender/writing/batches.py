"""Batches of prompts and texts for the feedback writer: for its loss and for its perplexity."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from recommender.encoders.text_states import computes_texts_alone, text_states
from recommender.fitting.device import moved
from recommender.fitting.finiteness import finite_loss
from recommender.inputs.batching import shuffled_by_length
from recommender.metrics.texts import pieces
from recommender.writing.examples import WritingExample
from recommender.writing.writer import FeedbackWriter

IGNORED = -100
# Lengths are rounded up to a multiple: the CPU prepares and keeps kernels of their own for every shape it meets.
LENGTH_STEP = 16
# Of texts that are only measured, side by side at most: scores of tokens, tokens with their prompts, and texts.
MAX_SCORES = 24_000_000
MAX_PLACES = 8_192
MAX_TEXTS = 32


@dataclass(frozen=True)
class Tokens:
    """One example as tokens; the text ends with the end-of-text token where it is whole.

    Attributes:
        n_bytes: Of the text as it is cut, UTF-8.
    """

    prompt: list[int]
    text: list[int]
    n_bytes: int


@dataclass(frozen=True)
class Batch:
    """Prompts, left-padded to P, then texts, right-padded to T: every text begins at the same column.

    Attributes:
        tokens: Shape (B, P + T), int64.
        real: 0 for padding, else 1. Shape (B, P + T), int64.
        targets: The texts' tokens, IGNORED for padding. Shape (B, T), int64.
    """

    tokens: Tensor
    real: Tensor
    targets: Tensor

    @property
    def n_targets(self) -> int:
        """Tokens that count."""
        return int((self.targets != IGNORED).sum())


def tokenize(example: WritingExample, writer: FeedbackWriter, perturb: Callable[[str], str] | None = None) -> Tokens:
    """Cut the text at its last sentence that fits into the writer's `max_tokens`, or hard where the first does not.

    Args:
        perturb: Changes the prompt's words.
    """
    prompt = writer.encode(example.request, perturb)
    most = writer.max_tokens - len(prompt)
    text = writer.prompts.follow(example.text)
    if len(text) < most:
        return Tokens(prompt, [*text, writer.end], _n_bytes(example.text))
    kept: list[int] = []
    said = whole = ""
    for piece in pieces(example.text):
        said += piece
        longer = writer.prompts.follow(said)
        if len(longer) >= most:
            break
        kept, whole = longer, said
    if kept:
        return Tokens(prompt, [*kept, writer.end], _n_bytes(whole))
    return Tokens(prompt, text[:most], _n_bytes(writer.tokenizer.decode(text[:most]).removeprefix(" ")))


def _n_bytes(text: str) -> int:
    return len(text.encode("utf-8"))


def collate(rows: Sequence[Tokens], padding: int) -> Batch:
    """Put examples side by side."""
    n_prompt, n_text = _rounded(max(len(row.prompt) for row in rows)), _rounded(max(len(row.text) for row in rows))
    tokens = torch.full((len(rows), n_prompt + n_text), padding)
    real = torch.zeros_like(tokens)
    targets = torch.full((len(rows), n_text), IGNORED)
    for place, row in enumerate(rows):
        first, end = n_prompt - len(row.prompt), n_prompt + len(row.text)
        tokens[place, first:end] = torch.tensor([*row.prompt, *row.text])
        real[place, first:end] = 1
        targets[place, : len(row.text)] = torch.tensor(row.text)
    return Batch(tokens, real, targets)


def _rounded(length: int) -> int:
    return math.ceil(length / LENGTH_STEP) * LENGTH_STEP


def shuffled_batches(rows: Sequence[Tokens], size: int, padding: int, order: torch.Generator) -> Iterator[Batch]:
    """All rows once, in random batches of texts of about equal length."""
    lengths = [len(row.text) for row in rows]
    for places in shuffled_by_length(lengths, size, partial(torch.randperm, generator=order)):
        yield collate([rows[place] for place in places], padding)


def text_loss(model: Any, batch: Batch) -> Tensor:
    """Sum of the cross-entropies of the texts' tokens; prompts are read, never counted."""
    scores, targets = _predict(model, batch)
    return F.cross_entropy(scores, targets, ignore_index=IGNORED, reduction="sum")


def text_losses(model: Any, batch: Batch) -> Tensor:
    """The same of each text. Shape (B,), float64."""
    scores, targets = _predict(model, batch)
    losses = F.cross_entropy(scores, targets, ignore_index=IGNORED, reduction="none").double()
    rows = torch.arange(len(batch.targets), device=losses.device)[:, None].expand_as(batch.targets)
    # Either every place of the texts is predicted, or every token that counts.
    own = rows.flatten() if len(losses) == rows.numel() else rows[batch.targets != IGNORED]
    return losses.new_zeros(len(batch.targets)).index_add_(0, own, losses)


def _predict(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Scores of texts' tokens, row by row, shape (N, V), float32, and the tokens, shape (N,)."""
    n_text = batch.targets.shape[1]
    if computes_texts_alone(model):
        # Each token is predicted from the place before it.
        asked = batch.targets != IGNORED
        states = text_states(model, batch.tokens[:, :-1], batch.real[:, :-1], asked)
        return model.lm_head(states).float(), batch.targets[asked]
    takes = inspect.signature(model.forward).parameters
    extra: dict[str, Any] = {"use_cache": False}
    if "position_ids" in takes:
        extra["position_ids"] = (batch.real.cumsum(dim=1) - 1).clamp_min(0)
    if "logits_to_keep" in takes:
        extra["logits_to_keep"] = n_text + 1
    logits = model(input_ids=batch.tokens, attention_mask=batch.real, **extra).logits[:, -n_text - 1 : -1]  # (B, T, V)
    return logits.float().flatten(0, 1), batch.targets.flatten()


@dataclass(frozen=True)
class Likelihood:
    """How well a writer expects texts, given their prompts.

    Attributes:
        nats: Negative log likelihood of the texts' tokens, end-of-text included, summed.
        n_tokens: Of the texts.
        n_bytes: Of the texts, UTF-8.
    """

    nats: float
    n_tokens: int
    n_bytes: int

    @classmethod
    def together(cls, of_texts: Sequence[Likelihood]) -> Likelihood:
        """Of texts that were measured one by one."""
        return cls(
            math.fsum(one.nats for one in of_texts),
            sum(one.n_tokens for one in of_texts),
            sum(one.n_bytes for one in of_texts),
        )

    @property
    def perplexity(self) -> float:
        """exp(nats / token). Only comparable between models of one tokenizer."""
        return math.exp(min(self.nats / self.n_tokens, 100.0))

    @property
    def bits_per_byte(self) -> float:
        """Comparable between models of any tokenizers, where they read the same texts uncut."""
        return self.nats / math.log(2) / self.n_bytes


def likelihoods(writer: FeedbackWriter, examples: Sequence[WritingExample]) -> list[Likelihood]:
    """Of each text, in the arithmetic of the model's weights. They are cut as in training.

    Raises:
        NotFinite: a text's likelihood is no number.
    """
    rows = [tokenize(example, writer) for example in examples]
    nats = [0.0] * len(rows)
    with torch.inference_mode():
        for places in side_by_side(rows, int(writer.model.config.vocab_size)):
            batch = moved(collate([rows[place] for place in places], writer.end), writer.model.device)
            for place, loss in zip(places, text_losses(writer.model, batch).tolist(), strict=True):
                nats[place] = loss
    finite_loss("feedback writer", sum(nats), "the perplexity of texts")
    return [Likelihood(loss, len(row.text), row.n_bytes) for loss, row in zip(nats, rows, strict=True)]


def side_by_side(rows: Sequence[Tokens], n_scores: int) -> Iterator[list[int]]:
    """Places of rows that are measured in one batch: of about equal length, as many as there is room for.

    Args:
        n_scores: Of a token: the size of the vocabulary.
    """

    def size_of(place: int) -> tuple[int, int]:
        return _rounded(len(rows[place].text)), _rounded(len(rows[place].prompt))

    batch: list[int] = []
    n_text = n_prompt = 0
    for place in sorted(range(len(rows)), key=size_of):
        own_text, own_prompt = size_of(place)
        text, prompt, n_rows = max(n_text, own_text), max(n_prompt, own_prompt), len(batch) + 1
        n_tokens = n_rows * (text + prompt)
        if batch and (n_rows * text * n_scores > MAX_SCORES or n_tokens > MAX_PLACES or n_rows > MAX_TEXTS):
            yield batch
            batch, text, prompt = [], own_text, own_prompt
        batch.append(place)
        n_text, n_prompt = text, prompt
    if batch:
        yield batch


def likelihood(writer: FeedbackWriter, examples: Sequence[WritingExample]) -> Likelihood:
    """Of all texts together.

    Args:
        examples: At least one.
    Raises:
        NotFinite: a text's likelihood is no number.
    """
    return Likelihood.together(likelihoods(writer, examples))


def perplexity(writer: FeedbackWriter, examples: Sequence[WritingExample]) -> float:
    """`Likelihood.perplexity` of texts."""
    return likelihood(writer, examples).perplexity
