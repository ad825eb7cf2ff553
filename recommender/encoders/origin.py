"""Which encoder made vectors: its files, the arithmetic that it computes in, and the code that computes."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from inspect import getsource
from textwrap import dedent

from pydantic import BaseModel, ConfigDict

from core.settings.models import EncoderSettings
from core.storage import digest_of
from recommender.encoders.encoder import TextEncoder, model_source, not_at_hand
from recommender.encoders.language_model import source_digest
from recommender.fitting.device import choose_dtype

_LIBRARIES = ("tokenizers", "torch", "transformers")  # that make tokens, states and vectors
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class MadeBy(BaseModel):
    """Who made vectors. Equal ones give a text the same vector, so that theirs may stand beside each other.

    Attributes:
        digest: Of the names and bytes of the encoder's files, as they came; of a name in the hub, the commit.
        dtype: Of the arithmetic, as torch calls it: "float32", "bfloat16".
        device: "cpu" or "cuda".
        libraries: Name to version of those that compute; empty where that was not recorded yet.
        code: Digest of what `TextEncoder` does; empty where that was not recorded yet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    dtype: str
    device: str
    libraries: Mapping[str, str] = {}
    code: str = ""


def made_by(settings: EncoderSettings, device: str = "cpu") -> MadeBy:
    """Who makes vectors by these settings here and now; the encoder is not loaded for it.

    Raises:
        EncoderError: it is not at hand.
    """
    dtype, _ = choose_dtype(settings.precision, device)
    name = str(dtype).removeprefix("torch.")
    return MadeBy(
        digest=encoder_digest(settings),
        dtype=name,
        device=device.partition(":")[0],
        libraries=library_versions(),
        code=_encoder_code(),
    )


def library_versions() -> dict[str, str]:
    """Of the libraries that make vectors."""
    return {name: version(name) for name in _LIBRARIES}


def code_digest(source: str) -> str:
    """Digest of what Python code does: 16 hexadecimal digits, the same with other comments, docstrings and layout."""
    tree = ast.parse(dedent(source))
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return digest_of(ast.unparse(tree))


@cache
def _encoder_code() -> str:
    return code_digest(getsource(TextEncoder))


def encoder_digest(settings: EncoderSettings) -> str:
    """Digest of the encoder's files as they are now.

    Raises:
        EncoderError: they are not at hand.
    """
    source = model_source(settings.model)
    try:
        return source_digest(source)
    except OSError as error:
        raise not_at_hand(settings, error) from error
