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
from recommender.fitting.context import silent
from recommender.fitting.summary import Progress
from recommender.fitting.tensors import check_before_saving
from recommender.writing.adapter import ADAPTER, Adapter, load_adapted
from recommender.writing.contacts import mask_contacts
from recommender.writing.copies import TrainingRuns
from recommender.writing.examples import WritingRequest
from recommender.writing.prompts import Prompts, PromptStyle
from recommender.writing.sampling import TextSampler, sampling_seed

CONFIG_FILE = "writer.json"
DEFAULT_NEW_TOKENS = 60
DEFAULT_TEMPERATURE = 0.7
DEFAULT_TOP_P = 0.9
MAX_REDRAWS = 2

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
        style: How it is asked.
        adapter: What was added to a pretrained model; None of one that is the shop's own.
        runs: What it was shown, so that it copies none of that; None where copying is not bounded.
    Raises:
        WriterError: the tokenizer has no end-of-text token, or no chat template where one is asked for, or the model
            cannot see `max_tokens`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        max_tokens: int,
        perplexity_before: Mapping[str, float] | None = None,
        style: PromptStyle = "marked",
        adapter: Adapter | None = None,
        runs: TrainingRuns | None = None,
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
        self.adapter, self.runs = adapter, runs
        if style == "chat" and tokenizer.chat_template is None:
            raise WriterError(
                "Cannot use language model",
                got="prompt=chat",
                expected="a tokenizer with a chat template",
                do="Set recipe.writer.prompt=plain, or choose another model",
            )
        self.prompts = Prompts(tokenizer, style, max_tokens)

    @property
    def n_measured(self) -> int:
        """Reviews of a window that perplexity is measured on: one that was pretrained is large, and takes its time."""
        return 256 if self.prompts.style == "marked" else 32

    @property
    def end(self) -> int:
        """The end-of-text token."""
        return int(self.tokenizer.eos_token_id)

    def write(
        self,
        requests: Sequence[WritingRequest],
        seed: int,
        max_new_tokens: int = DEFAULT_NEW_TOKENS,
        temperature: float = DEFAULT_TEMPERATURE,
        top_p: float = DEFAULT_TOP_P,
    ) -> list[str]:
        """Write one text per request, in one batch; each ends with a sentence, and none is empty.

        Contacts are masked. Where copying is bounded, a text that copies too much is drawn again, twice at most, and
        then loses the sentences that are copied.

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
        texts = self._draw(requests, seed, max_new_tokens, temperature, top_p)
        if self.runs is None:
            return texts
        for again in range(1, MAX_REDRAWS + 1 if temperature > 0 else 1):
            places = [place for place, text in enumerate(texts) if self.runs.holds_too_much(text)]
            if not places:
                break
            other = sampling_seed(seed, f"again {again}")
            drawn = self._draw([requests[place] for place in places], other, max_new_tokens, temperature, top_p)
            for place, text in zip(places, drawn, strict=True):
                texts[place] = text
        return [self.runs.without_copies(text) if self.runs.holds_too_much(text) else text for text in texts]

    def _draw(
        self, requests: Sequence[WritingRequest], seed: int, max_new_tokens: int, temperature: float, top_p: float
    ) -> list[str]:
        """One text per request, whatever it copies."""
        prompts = [self.prompts.encode(request) for request in requests]
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
        return mask_contacts(finish_sentence(_SPACE.sub(" ", text).strip(), ended))

    def save(self, folder: Path) -> None:
        """Write a writer of the shop's own into a folder that exists, in transformers' own layout; of one that was
        fine-tuned what was added to its base model, and which that is.

        Raises:
            BundleError: a weight is NaN or infinite.
        """
        config: dict[str, Any] = {"max_tokens": self.max_tokens, "perplexity_before": self.perplexity_before}
        if self.adapter is None:
            check_before_saving("feedback writer", self.model.state_dict())
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        else:
            config |= {"style": self.prompts.style, ADAPTER: self.adapter.save(folder)}
        if self.runs is not None:
            self.runs.save(folder)
        write_json(folder / CONFIG_FILE, config | {"bounds_copies": self.runs is not None})

    @classmethod
    def load(
        cls, folder: Path, device: str = "cpu", models: Path | None = None, progress: Progress = silent
    ) -> FeedbackWriter:
        """Read what `save` wrote, ready to write; fine-tuning does not go on from it.

        Args:
            models: Where converted language models are kept, for a writer that was made of the embedded one.
            progress: Called with a line where a model is converted first.
        Raises:
            BundleError: a file is missing or unreadable, or the base model is not at hand, or is another one.
        """
        config = read_config(folder / CONFIG_FILE)
        added = config.get(ADAPTER)
        expected = f"{'what was added to a model' if added else 'a model, its tokenizer'} and {CONFIG_FILE}"
        with loading("feedback writer", got=f"folder={folder}", expected=expected, do="Fit the writer again"):
            if added:
                model, tokenizer = load_adapted(folder, added, models, progress, device)
            else:
                model, tokenizer = read_language_model(str(folder), str(folder))
            runs = TrainingRuns.load(folder) if config.get("bounds_copies") else None
            style, before = config.get("style", "marked"), config["perplexity_before"]
            return cls(model.to(device), tokenizer, config["max_tokens"], before, style, runs=runs)


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
