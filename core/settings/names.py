"""The names that settings have, and which of them somebody who wrote another one may have meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

# What a client takes its key of a service from; a secret, so no setting.
API_KEY_VARIABLE = "SOMMELIER_API_KEY"
_MAX_MEANT = 3


def setting_names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of every setting and group below a model; of a choice, those of each variant."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for inner in _models(field.annotation):
            yield from setting_names(inner, f"{prefix}{name}.")


def without_variants(place: Sequence[Any], tree: Any) -> str:
    """The dotted name at which pydantic found an error: it puts the variant's kind between a choice and its fields."""
    names = []
    for part in place:
        if isinstance(tree, Mapping) and part not in tree and part != place[-1]:
            continue
        names.append(str(part))
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return ".".join(names)


def hint(model: type[BaseModel], name: str) -> str:
    """What somebody may have meant by a name that is none: a sentence with a space behind it, empty without an idea."""
    known = sorted(set(setting_names(model)))
    group, _, last = name.rpartition(".")
    if name in known:
        return f"Another kind has it: set {group}.kind. "
    meant = (
        [one for one in known if one.rpartition(".")[2] == last]
        or get_close_matches(name, [one for one in known if one.rpartition(".")[0] == group], 1, 0.75)
        or get_close_matches(name, known, _MAX_MEANT, 0.8)
        or [one for one in known if get_close_matches(last, [one.rpartition(".")[2]], 1, 0.75)]
    )
    return f"Did you mean {' or '.join(meant[:_MAX_MEANT])}? " if meant else ""


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is Annotated:
        yield from _models(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for one in get_args(annotation):
            yield from _models(one)
