"""How a language model is asked for a text: in the words of a prompt, and in its tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from recommender.inputs.texts import (
    ITEM_CHARS,
    PART_END,
    PROFILE_CHARS,
    SHORT_PROFILE_CHARS,
    fit_profile,
    language_model_prompt,
    language_model_question,
    shorten,
)
from recommender.writing.examples import WritingRequest
from recommender.writing.sampling import control_tokens

# marked: the short form that a model learns from nothing. plain, chat: for models that have read the world's texts.
PromptStyle = Literal["marked", "plain", "chat"]
MARKED_END = " | text:"
_BROKEN = "\ufffd"  # what tokens of part of a character decode to
_CHARACTER_TOKENS = 8  # more than one character has
_PLACE = "\u241f"  # stands for the question while the chat template is read; no template holds it


class Prompts:
    """Prompts of one style in the tokens of one model.

    Args:
        style: By `chat`, the model's own chat template is used.
        max_tokens: Of prompt and text together; a prompt takes half of them at most.
    Raises:
        ValueError: the chat template is asked for, and the tokenizer has none.
    """

    def __init__(self, tokenizer: Any, style: PromptStyle, max_tokens: int) -> None:
        self.style = style
        self._tokenizer, self._most = tokenizer, max_tokens // 2
        self._profile_chars = SHORT_PROFILE_CHARS if style == "marked" else PROFILE_CHARS
        self._around = ("", "")
        if style == "chat":
            self._around = _chat_frame(tokenizer)
        # Tokens that the tokenizer puts before every text by itself; GPT-2's none, Llama's one.
        # The longest first: one may begin with another.
        self._control = sorted(filter(None, control_tokens(tokenizer).values()), key=len, reverse=True)
        self._start = [token for token in tokenizer("").input_ids if token == tokenizer.bos_token_id]
        if self._start and self._around[0].startswith(tokenizer.bos_token):
            self._start = []  # the chat template says it

    def encode(self, request: WritingRequest, perturb: Callable[[str], str] | None = None) -> list[int]:
        """A prompt's tokens. Of one that is too long the parts of the user's profile are shortened, and of the item's
        text what is more than five eighths of the room for both is left out.

        Args:
            perturb: Changes its words.
        """
        request = replace(
            request,
            profile=self._as_data(request.profile),
            item=self._as_data(request.item),
            mentions=self._as_data(request.mentions or ""),
        )
        tokens, end = self._whole(request, perturb)
        if len(tokens) > self._most and (shorter := self._with_shorter_item(request)) != request:
            request = shorter
            tokens, end = self._whole(request, perturb)
        if len(tokens) > self._most and PART_END in request.profile:
            request = self._with_shorter_profile(request)
            tokens, end = self._whole(request, perturb)
        if len(tokens) <= self._most:
            return tokens
        kept = tokens[: max(0, self._most - len(end))]
        while kept and self._tokenizer.decode(kept[-_CHARACTER_TOKENS:]).endswith(_BROKEN):
            kept.pop()
        return kept + end

    def _whole(self, request: WritingRequest, perturb: Callable[[str], str] | None) -> tuple[list[int], list[int]]:
        """All tokens of a prompt, and those that stay at its end wherever it is cut."""
        head, tail = self._asked(request)
        if self.style == "marked":
            said = head + tail
            tokens = self._start + self._encode(said if perturb is None else perturb(said))
            end = self._encode(tail)
        else:
            end = self._encode(tail)
            tokens = self._start + self._encode(head if perturb is None else perturb(head)) + end
        return tokens, end

    def _with_shorter_item(self, request: WritingRequest) -> WritingRequest:
        """With no more of the item than leaves room for the profile, or for three eighths of what there is."""
        around, _ = self._whole(replace(request, profile="", item=""), None)
        room = max(0, self._most - len(around))
        item = self._encode(shorten(request.item, ITEM_CHARS))
        most = max(room - len(self._encode(fit_profile(request.profile, self._profile_chars))), room * 5 // 8)
        if len(item) <= most:
            return request
        return replace(request, item=self._tokenizer.decode(item[:most]).rstrip(_BROKEN))

    def _with_shorter_profile(self, request: WritingRequest) -> WritingRequest:
        """With parts that are shortened until the prompt fits, or nothing is left of them."""
        shorter = request
        fitted = fit_profile(request.profile, self._profile_chars)
        while fitted and (n_over := len(self._whole(shorter, None)[0]) - self._most) > 0:
            n_less = max(1, n_over * len(fitted) // len(self._encode(fitted)))
            fitted = fit_profile(request.profile, max(0, len(fitted) - n_less))
            shorter = replace(request, profile=fitted)
        return shorter

    def follow(self, text: str) -> list[int]:
        """The tokens of a text that follows a prompt, without the end-of-text token."""
        said = self._as_data(text)
        return self._encode(said if self.style == "chat" else f" {said}")

    def _as_data(self, text: str) -> str:
        """A text of the shop without what the tokenizer would read as a control token, such as the end of a turn."""
        for token in self._control:
            text = text.replace(token, " ")
        return text

    def _asked(self, request: WritingRequest) -> tuple[str, str]:
        if self.style == "marked":
            return request.prompt.removesuffix(MARKED_END), MARKED_END
        fields = (request.rating, request.profile, request.item, request.mentions or "")
        if self.style == "plain":
            return language_model_prompt(*fields)
        before, after = self._around
        head, tail = language_model_question(*fields)
        return before + head, tail + after

    def _encode(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return tokens


def _chat_frame(tokenizer: Any) -> tuple[str, str]:
    """What the chat template puts before a question, and between it and the answer."""
    if tokenizer.chat_template is None:
        raise ValueError("the tokenizer has no chat template")
    asked = [{"role": "user", "content": _PLACE}]
    said: str = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    before, _, after = said.partition(_PLACE)
    return before, after
