"""Which scope each endpoint needs: one row per path. What no row names needs `admin`: nothing is open by mistake.

A path of the API may stand below `/v1` or not: one row says both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.keys import KeyScope

Need = KeyScope | Literal["nothing"]

_VERSION = "/v1"
_READ_METHODS = ("GET", "HEAD")
_BELOW = "/*"


@dataclass(frozen=True)
class Row:
    """What some requests need.

    Attributes:
        methods: HTTP methods; HEAD goes with GET.
        path: Exact, or ending with `/*` for all that stands below.
        need: The scope; `nothing` where everybody may ask.
        is_versioned: Whether the path stands below `/v1` too.
        tells: Whether those who have the scope `admin` see there who was shown what, rows of people, or who did what:
            it is on record who looked.
        where: A field of the address without which it tells nothing of that; empty for none.
    """

    methods: tuple[str, ...]
    path: str
    need: Need
    is_versioned: bool = True
    tells: bool = False
    where: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        """The path wherever it stands."""
        return (self.path, f"{_VERSION}{self.path}") if self.is_versioned else (self.path,)


def _page(path: str) -> Row:
    return Row(("GET",), path, "nothing", is_versioned=False)


_CHANGES = ("POST", "PUT", "PATCH", "DELETE")
ROWS = (
    _page("/livez"),
    _page("/readyz"),
    # The page of the API and what it loads say what can be asked, and nothing of the shop.
    _page("/"),
    _page("/docs.json"),
    _page("/static_content/*"),
    # Pages that show what the API tells.
    Row(("GET",), "/app", "read", is_versioned=False),
    Row(("GET",), "/app/", "read", is_versioned=False),
    Row(("GET",), "/app/*", "read", is_versioned=False),
    Row(("GET",), "/app/audit", "admin", is_versioned=False, tells=True),
    Row(("GET",), "/app/quarantine", "read", is_versioned=False, tells=True),
    Row(("GET",), "/app/model", "read", is_versioned=False, tells=True, where="recommendation_id"),
    # Reduced, without a key that may read.
    Row(("GET",), "/model", "nothing"),
    Row(("GET",), "/metrics", "read", is_versioned=False),
    Row(("POST",), "/recommend", "read"),
    Row(("POST",), "/score", "read"),
    Row(("POST",), "/feedback", "read"),
    Row(("GET", "POST"), "/similar", "read"),
    Row(("GET", "POST"), "/search", "read"),
    Row(("GET", "POST"), "/popular", "read"),
    Row(("GET", "POST"), "/latest", "read"),
    Row(("POST",), "/events", "events"),
    Row(("GET",), "/users/*", "read"),
    Row(("GET",), "/items/*", "read"),
    Row(_CHANGES, "/users/*", "admin"),
    Row(_CHANGES, "/items/*", "admin"),
    Row(("GET",), "/experiments", "read"),
    Row(("GET",), "/timeline", "read"),
    # Rows of it are shown to whoever may do everything.
    Row(("GET",), "/quarantine", "read", tells=True),
    Row(("POST",), "/quarantine/readmissions", "admin"),
    Row(("DELETE",), "/quarantine/readmissions/*", "admin"),
    Row(("GET",), "/audit", "admin", tells=True),
    # It names who was shown what.
    Row(("GET",), "/lineage/*", "admin", tells=True),
    Row(_CHANGES, "/experiments", "admin"),
    Row(_CHANGES, "/experiments/*", "admin"),
)


_BY_PATH = {(method, path): row for row in ROWS for method in row.methods for path in row.paths}
_FOLDERS = {(method, path.removesuffix("*")): row for (method, path), row in _BY_PATH.items() if path.endswith(_BELOW)}


def find_row(method: str, path: str) -> Row | None:
    """The row of a request; None where no row names it."""
    if method == "HEAD":
        method = "GET"
    if row := _BY_PATH.get((method, path)):
        return row
    below = ((folder, row) for (known, folder), row in _FOLDERS.items() if known == method)
    return next((row for folder, row in below if path.startswith(folder) and path != folder), None)


def need_of(method: str, path: str) -> Need:
    """What a request needs."""
    row = find_row(method, path)
    return "admin" if row is None else row.need


def is_change(method: str) -> bool:
    """Whether a method may change something."""
    return method not in (*_READ_METHODS, "OPTIONS")
