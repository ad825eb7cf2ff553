"""The feedback writer: a causal language model that writes the review a user would write, or why an item suits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from core.storage import write_json
from recommender.encoders.language_model import read_language_model
from recommender.errors import RecommenderError
from recommender.fitting.component import loading, read_config
from recommender.fitting.tensors import check_before_saving
from recommender.writing.examples import WritingRequest
from recommender.writing.sampling import TextSampler, sampling_seed

CONFIG_FILE = "writer.json"
PROMPT_END = " | text:"
DEFAULT_NEW_TOKENS = 60
DEFAULT_TEMPERATURE = 0.7
DEFAULT_TOP_P = 0.9

_FINISHED = re.compile(r"[.!?][\"'”’)]*$")
_LAST_SENTENCE_END = re.compile(r"^.*[.!?][\"'”’)]*(?=\s)", re.DOTALL)
_SPACE = re.compile(r"\s+")


class WriterError(RecommenderError):
    """A language model cannot be used as a feedback writer, or not as asked."""


class FeedbackWriter:
    """A causal language model with its tokenizer. Safe to call from many threads.

    Args:
        model: A transformers causal language model.
        tokenizer: Its tokenizer.
        max_tokens: Tokens of prompt and text together, as in training.
        perplexity_before: Of the model before it was trained, by window.
    Raises:
        WriterError: the tokenizer has no end-of-text token, or the model cannot see `max_tokens`.
    """

    def __init__(
        self, model: Any, tokenizer: Any, max_tokens: int, perplexity_before: Mapping[str, float] | None = None
    ) -> None:
        if tokenizer.eos_token_id is None:
            raise WriterError(
                "Cannot use language model", got="eos_token=None", expected="an end-of-text token", do="Choose another"
            )
        sees = getattr(model.config, "max_position_embeddings", None) or max_tokens
        if sees < max_tokens:
            raise WriterError(
                "Cannot use language model",
                got=f"max_tokens={max_tokens}",
                expected=f"at most the {sees} positions of the model",
                do="Lower recipe.writer.max_tokens",
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.perplexity_before = dict(perplexity_before or {})
        self._sampler = TextSampler.of(tokenizer, int(model.config.vocab_size))
        self._prompt_end = self._encode(PROMPT_END)
        # Tokens that the tokenizer puts before every text by itself; GPT-2's none, Llama's one.
        self._start = [token for token in tokenizer("").input_ids if token == tokenizer.bos_token_id]

    @property
    def end(self) -> int:
        """The end-of-text token."""
        return int(self.tokenizer.eos_token_id)

    def encode_prompt(self, prompt: str) -> list[int]:
        """A prompt's tokens: at most half of `max_tokens`; a longer one loses the end of the user's profile."""
        tokens, most = self._start + self._encode(prompt), self.max_tokens // 2
        if len(tokens) <= most:
            return tokens
        return tokens[: most - len(self._prompt_end)] + self._prompt_end

    def encode_text(self, text: str) -> list[int]:
        """The tokens of a text that follows a prompt, without the end-of-text token."""
        return self._encode(f" {text}")

    def write(
        self,
        requests: Sequence[WritingRequest],
        seed: int,
        max_new_tokens: int = DEFAULT_NEW_TOKENS,
        temperature: float = DEFAULT_TEMPERATURE,
        top_p: float = DEFAULT_TOP_P,
    ) -> list[str]:
        """Write one text per request, in one batch; each ends with a sentence, and none is empty.

        No global random generator is touched. The same request and seed draw the same random numbers alone and
        in any batch.

        Args:
            seed: Equal seeds give equal texts.
            max_new_tokens: Of a text at most; what follows its last whole sentence is cut off.
            temperature: 0 takes the likeliest token always.
            top_p: Draw from the likeliest tokens that have this probability together, above 0.
        Raises:
            WriterError: an argument is out of its range.
            NotFinite: the model's scores of a word are NaN or infinite.
        """
        _check_range(
            "max_new_tokens", max_new_tokens, 1 <= max_new_tokens <= self.max_tokens, f"1 to {self.max_tokens}"
        )
        _check_range("temperature", temperature, temperature >= 0, "at least 0")
        _check_range("top_p", top_p, 0 < top_p <= 1, "above 0, at most 1")
        if not requests:
            return []
        prompts = [self.encode_prompt(request.prompt) for request in requests]
        width = max(len(prompt) for prompt in prompts)
        padding = [width - len(prompt) for prompt in prompts]
        tokens = torch.tensor([[self.end] * pad + prompt for pad, prompt in zip(padding, prompts, strict=True)])
        real = torch.tensor([[0] * pad + [1] * (width - pad) for pad in padding])
        seeds = [sampling_seed(seed, request.prompt) for request in requests]
        sampling = self._sampler.start(seeds, width, temperature, top_p)
        written = self._generate(tokens, real, sampling, min(max_new_tokens, self.max_tokens - width))
        return [self._finish(row) for row in written[:, width:].tolist()]

    def _generate(self, tokens: torch.Tensor, real: torch.Tensor, sampling: Any, n_new: int) -> torch.Tensor:
        """Continue `tokens`, shape (B, T), left-padded where `real` is 0. Shape (B, T + at most n_new)."""
        from transformers import GenerationConfig, LogitsProcessorList

        # Greedy, because `sampling` has already put the random draw into the scores.
        config = GenerationConfig(
            do_sample=False, num_beams=1, max_new_tokens=n_new, eos_token_id=self.end, pad_token_id=self.end
        )
        device = self.model.device
        with torch.inference_mode():
            written: torch.Tensor = self.model.generate(
                tokens.to(device),
                attention_mask=real.to(device),
                generation_config=config,
                logits_processor=LogitsProcessorList([sampling]),
            )
        return written

    def _finish(self, tokens: list[int]) -> str:
        """The text of generated tokens, up to its last whole sentence."""
        ended = self.end in tokens
        if ended:
            tokens = tokens[: tokens.index(self.end)]
        text = self.tokenizer.decode(tokens, skip_special_tokens=True).replace("\ufffd", "")
        return finish_sentence(_SPACE.sub(" ", text).strip(), ended)

    def _encode(self, text: str) -> list[int]:
        tokens: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return tokens

    def save(self, folder: Path) -> None:
        """Write weights, tokenizer and configuration into a folder that exists, in transformers' own layout.

        Raises:
            BundleError: a weight is NaN or infinite.
        """
        check_before_saving("feedback writer", self.model.state_dict())
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        write_json(folder / CONFIG_FILE, {"max_tokens": self.max_tokens, "perplexity_before": self.perplexity_before})

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> FeedbackWriter:
        """Read what `save` wrote.

        Raises:
            BundleError: a file is missing or unreadable.
        """
        config = read_config(folder / CONFIG_FILE)
        expected = f"a model, its tokenizer and {CONFIG_FILE}"
        with loading("feedback writer", got=f"folder={folder}", expected=expected, do="Fit the writer again"):
            model, tokenizer = read_language_model(str(folder), str(folder))
            return cls(model.to(device), tokenizer, config["max_tokens"], config["perplexity_before"])


def finish_sentence(text: str, ended: bool) -> str:
    """Cut what follows the last whole sentence; where there is none, close the text with a full stop.

    Args:
        ended: The writer itself ended the text, so its last sentence is whole.
    """
    if _FINISHED.search(text):
        return text
    whole = _LAST_SENTENCE_END.match(text)
    if whole and not ended:
        return whole.group()
    if not ended and " " in text:
        text = text.rsplit(" ", 1)[0]
    return text.rstrip(" ,;:-–") + "."


def _check_range(name: str, value: float, holds: bool, rule: str) -> None:
    if not holds:
        raise WriterError("Cannot write feedback", got=f"{name}={value}", expected=rule, do="Change the argument")
