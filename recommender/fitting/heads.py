"""Whether a model's attention can be parted as its settings say."""

from __future__ import annotations

from core.errors import SettingsError


def check_heads(model: str, group: str, width: int, n_heads: int) -> None:
    """Refuse a width that the heads do not divide.

    Args:
        model: What the error calls it.
        group: Where its settings are.
    Raises:
        SettingsError: they do not.
    """
    if width % n_heads:
        raise SettingsError(
            f"Cannot build {model}",
            got=f"width={width}, n_heads={n_heads}",
            expected="a width that the heads divide",
            do=f"Change one of them under recipe.{group}",
        )
