"""The settings that a profile drafts: lines with the evidence for each, and questions where a guess is unsafe."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_SECTIONS = (
    "recipe.source",
    "recipe.source.files",
    "recipe.source.queries",
    *(f"recipe.source.columns.{table}" for table in ("interactions", "items", "users", "feedback")),
    "recipe.source.values",
    "recipe.validation",
    "recipe.validation.cleaning",
    "recipe.writer",
)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH = 116


@dataclass(frozen=True)
class Line:
    """One setting.

    Attributes:
        why: The evidence, written as a comment above it.
        is_open: Written as a comment, for the reader to decide.
    """

    key: str
    value: Any
    why: str = ""
    is_open: bool = False


@dataclass(frozen=True)
class Question:
    """What the user has to answer.

    Attributes:
        section: Where the answer belongs.
        keys: The settings that answer it, all of them; none where the data have to be corrected.
        text: One sentence.
    """

    section: str
    keys: tuple[str, ...]
    text: str


@dataclass
class Draft:
    """Settings by section, in the order they were set, and the questions among them."""

    lines: dict[str, list[Line]] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def set(self, section: str, key: str, value: Any, why: str = "") -> None:
        """Write a setting."""
        self.lines.setdefault(section, []).append(Line(key, value, why))

    def suggest(self, section: str, key: str, value: Any, why: str) -> None:
        """Write a setting as a comment: it may be wanted, and the run goes on without it."""
        self.lines.setdefault(section, []).append(Line(key, value, why, is_open=True))

    def ask(self, section: str, text: str, choices: Iterable[tuple[str, Any]], *, every: bool = False) -> None:
        """Write the possible settings as comments under a question; the run stops until one of them is written.

        Args:
            every: All keys have to be set, where each is a question of its own (words of events).
        """
        choices = list(choices)
        keys = tuple(dict.fromkeys(key for key, _ in choices))
        self.questions.append(Question(section, keys if every else keys[:1], text))
        for number, (key, value) in enumerate(choices or [("", "")]):
            self.lines.setdefault(section, []).append(Line(key, value, f"QUESTION: {text}" if not number else "", True))

    def get(self, section: str, key: str, default: Any = None) -> Any:
        """A setting that is written."""
        for line in self.lines.get(section, []):
            if line.key == key and not line.is_open:
                return line.value
        return default

    def open_questions(self, tree: Mapping[str, Any], overrides: Sequence[str] = ()) -> list[Question]:
        """The questions that neither a settings tree nor overrides of the command line answer."""
        given = {override.partition("=")[0] for override in overrides}
        return [question for question in self.questions if not _is_answered(question, tree, given)]

    @property
    def is_plain(self) -> bool:
        """Whether nothing but the kind and the path of the source was guessed."""
        written = {(section, line.key) for section, lines in self.lines.items() for line in lines if not line.is_open}
        return not self.questions and written <= {("recipe.source", "kind"), ("recipe.source", "path")}


def render(draft: Draft, shop: str, head: Sequence[str] = ()) -> str:
    """The settings file: comments with the evidence, then the settings."""
    parts = [*(f"# {line}" if line else "#" for line in head), f"shop = {toml_value(shop)}", ""]
    for section in sorted(draft.lines, key=_section_order):
        parts.append(f"[{section}]")
        for line in draft.lines[section]:
            parts += [f"# {text}" for text in _wrapped(line.why)]
            if not line.key:  # a question that no setting answers
                continue
            written = f"{_key(line.key)} = {toml_value(line.value)}"
            parts.append(f"# {written}" if line.is_open else written)
        parts.append("")
    text = "\n".join(parts).rstrip() + "\n"
    tomllib.loads(text)
    return text


def line_number(text: str, question: Question) -> int:
    """The line of a settings file where a question stands; 1 where it does not."""
    begin = f"# {_wrapped(f'QUESTION: {question.text}')[0]}"
    return next((number for number, line in enumerate(text.splitlines(), start=1) if line == begin), 1)


def toml_value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(one) for one in value) + "]"
    return repr(value)


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else toml_value(key)


def _section_order(section: str) -> tuple[int, str]:
    known = [number for number, name in enumerate(_SECTIONS) if section == name or section.startswith(name + ".")]
    return (known[-1] if known else len(_SECTIONS)), section


def _wrapped(text: str) -> list[str]:
    flat = " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())
    return textwrap.wrap(flat, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _is_answered(question: Question, tree: Mapping[str, Any], given: set[str]) -> bool:
    if not question.keys:
        return False
    path = question.section.split(".")
    prefixes = {".".join(path[:end]) for end in range(3, len(path) + 1)}
    if prefixes & given or all(f"{question.section}.{key}" in given for key in question.keys):
        return True
    node: Any = tree
    for part in path:
        node = node.get(part, {}) if isinstance(node, Mapping) else {}
    names = {str(name).lower() for name in node}
    return all(key.lower() in names for key in question.keys)
