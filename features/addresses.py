"""Addresses of stores: the settings name environment variables, so that no secret stands in a file."""

from __future__ import annotations

import re
from os import environ

from features.errors import FeatureError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expand(text: str) -> str:
    """Put the environment's values in the place of ${NAME}.

    Raises:
        FeatureError: a name is not in the environment.
    """
    for name in _VARIABLE.findall(text):
        if name not in environ:
            raise FeatureError(
                "Cannot open the feature store",
                got=f"{name}=''",
                expected="the variable that the settings of the store name",
                do=f"Set {name} in the environment of whatever opens the store",
            )
    return _VARIABLE.sub(lambda found: environ[found[1]], text)
