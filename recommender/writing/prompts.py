"""How a language model is asked for a text: in the words of a prompt, and in its tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from recommender.inputs.texts import language_model_prompt, language_model_question
from recommender.writing.examples import WritingRequest

# marked: the short form that a model learns from nothing. plain, chat: for models that have read the world's texts.
PromptStyle = Literal["marked", "plain", "chat"]
MARKED_END = " | text:"
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
        self._around = ("", "")
        if style == "chat":
            self._around = _chat_frame(tokenizer)
        # Tokens that the tokenizer puts before every text by itself; GPT-2's none, Llama's one.
        self._specials = [token for token in tokenizer.all_special_tokens if token]
        self._start = [token for token in tokenizer("").input_ids if token == tokenizer.bos_token_id]

    def encode(self, request: WritingRequest, perturb: Callable[[str], str] | None = None) -> list[int]:
        """A prompt's tokens; one that is too long loses the end of the user's profile.

        Args:
            perturb: Changes its words.
        """
        head, tail = self._asked(request)
        if self.style == "marked":
            said = head + tail
            tokens = self._start + self._encode(said if perturb is None else perturb(said))
            end = self._encode(tail)
        else:
            end = self._encode(tail)
            tokens = self._start + self._encode(head if perturb is None else perturb(head)) + end
        if len(tokens) <= self._most:
            return tokens
        return tokens[: max(0, self._most - len(end))] + end

    def follow(self, text: str) -> list[int]:
        """The tokens of a text that follows a prompt, without the end-of-text token."""
        said = self._as_data(text)
        return self._encode(said if self.style == "chat" else f" {said}")

    def _as_data(self, text: str) -> str:
        """A text of the shop without what the tokenizer would read as a control token, such as the end of a turn."""
        for token in self._specials:
            text = text.replace(token, " ")
        return text

    def _asked(self, request: WritingRequest) -> tuple[str, str]:
        request = replace(request, profile=self._as_data(request.profile), item=self._as_data(request.item))
        if self.style == "marked":
            return request.prompt.removesuffix(MARKED_END), MARKED_END
        fields = (request.rating, request.profile, request.item)
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
