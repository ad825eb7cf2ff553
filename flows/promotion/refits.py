"""What is said of a bundle that was fitted again on everything: its figures are those of the one that was judged."""

from __future__ import annotations

from recommender.bundle.manifest import Manifest

SHOWN_DIGEST_CHARS = 16


def describe_refit(manifest: Manifest) -> str:
    """One sentence; empty for a bundle that was evaluated itself."""
    if manifest.judged is None:
        return ""
    data = manifest.data
    return (
        f"Bundle {manifest.digest[:SHOWN_DIGEST_CHARS]} learned from everything until "
        f"{_minute(data.learned_until_at.isoformat())}, by the choices of {manifest.judged[:SHOWN_DIGEST_CHARS]}, "
        f"which learned until {_minute(data.validation_at)}: the figures are those of that one."
    )


def labels_of(manifest: Manifest) -> dict[str, str]:
    """What a version in the model store is labelled with, of its bundle."""
    return {
        "digest": manifest.digest,
        "kind": manifest.kind,
        "judged": manifest.judged or "",
        "learned_until": manifest.data.learned_until_at.isoformat(),
    }


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")
