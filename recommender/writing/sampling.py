"""How the feedback writer draws its words: top-p sampling with generators of its own, one per text.

The draw happens in the scores (Gumbel-max: argmax(score + Gumbel noise) is a sample of softmax(score)), so that the
model's own greedy search does the rest, and no global generator is touched by the service's threads.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from core.storage import digest_of
from recommender.fitting.finiteness import finite_scores

MIN_NEW_TOKENS = 6
NO_REPEAT_LENGTH = 4
_STARTS_WITH_LETTER = re.compile(r"\s?[^\W\d_]")


def sampling_seed(seed: int, prompt: str) -> int:
    """The seed of one text's generator: of the caller's seed and the prompt, whatever else is in the batch."""
    return int(digest_of(seed, prompt), 16) & (2**63 - 1)


@dataclass(frozen=True)
class TextSampler:
    """What a tokenizer's tokens are good for.

    Attributes:
        end: The end-of-text token.
        never: True for tokens that no text holds: special ones, and scores beyond the vocabulary. Shape (V,).
        no_start: True for tokens that cannot be a text's first: those that do not begin with a letter. Shape (V,).
    """

    end: int
    never: Tensor
    no_start: Tensor

    @classmethod
    def of(cls, tokenizer: Any, n_scores: int) -> TextSampler:
        """Look at every token once.

        Args:
            n_scores: Width of the model's scores, which may be larger than the vocabulary.
        """
        end, known = int(tokenizer.eos_token_id), min(len(tokenizer), n_scores)
        never = torch.zeros(n_scores, dtype=torch.bool)
        never[known:] = True
        never[[token for token in tokenizer.all_special_ids if token != end and token < n_scores]] = True
        pieces = tokenizer.batch_decode([[token] for token in range(known)])
        no_start = never.clone()
        no_start[[token for token, piece in enumerate(pieces) if not _STARTS_WITH_LETTER.match(piece)]] = True
        no_start[end] = True
        return cls(end, never, no_start if not no_start.all() else never)

    def start(self, seeds: Sequence[int], prompt_length: int, temperature: float, top_p: float) -> Sampling:
        """Begin to write a batch of texts, one per seed, behind prompts that are padded to `prompt_length`."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return Sampling(self, generators, prompt_length, temperature, top_p)


@dataclass
class Sampling:
    """One batch of texts in the making: transformers calls it with the scores of each step."""

    sampler: TextSampler
    generators: list[torch.Generator]
    prompt_length: int
    temperature: float
    top_p: float
    followers: list[dict[tuple[int, ...], list[int]]] = field(init=False)

    def __post_init__(self) -> None:
        self.followers = [defaultdict(list) for _ in self.generators]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores whose argmax is the draw.

        Args:
            input_ids: Prompts and what is written. Shape (B, T), int64.
            scores: Of the next token. Shape (B, V).
        Raises:
            NotFinite: a score is NaN or +inf.
        """
        written = input_ids[:, self.prompt_length :]
        scores = scores.float()
        finite_scores("feedback writer", scores.cpu().numpy(), masked=True)
        scores = scores.masked_fill(self._forbidden(written.cpu()).to(scores.device), -torch.inf)
        if self.temperature == 0:
            return scores
        scores = keep_top_p(scores / self.temperature, self.top_p)
        # Drawn on the CPU wherever the model computes: the same seed gives the same numbers.
        noise = torch.stack(
            [torch.empty(scores.shape[1]).exponential_(generator=generator) for generator in self.generators]
        ).to(scores.device)
        # -log of an exponential variable is a Gumbel variable.
        return scores - noise.clamp_min(torch.finfo(torch.float32).tiny).log()

    def _forbidden(self, written: Tensor) -> Tensor:
        """Tokens that may not come next. Shape (B, V)."""
        n_written = written.shape[1]
        forbidden = (self.sampler.no_start if n_written == 0 else self.sampler.never).repeat(len(written), 1)
        if n_written < MIN_NEW_TOKENS:
            forbidden[:, self.sampler.end] = True
        if n_written >= NO_REPEAT_LENGTH - 1:
            for row, tokens in enumerate(written[:, -NO_REPEAT_LENGTH:].tolist()):
                if len(tokens) == NO_REPEAT_LENGTH:
                    self.followers[row][tuple(tokens[:-1])].append(tokens[-1])
                forbidden[row, self.followers[row].get(tuple(tokens[1 - NO_REPEAT_LENGTH :]), [])] = True
        # An ended text goes on with end tokens as padding, which repeat.
        forbidden[:, self.sampler.end] &= n_written < MIN_NEW_TOKENS
        return forbidden


def keep_top_p(scores: Tensor, top_p: float) -> Tensor:
    """Put all but the likeliest tokens, which together have at least the probability `top_p`, to -inf.

    Source: Holtzman et al. 2020, The Curious Case of Neural Text Degeneration.
    """
    ordered, places = scores.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    dropped = (before >= top_p).scatter(-1, places, before >= top_p)
    return scores.masked_fill(dropped, -torch.inf)
