"""API keys of the shop's service: make, list and revoke them. A running service follows at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from cli.options import NOT_CHOSEN, AsJson, Chosen
from cli.output import print_json, print_rows, show, show_aside

if TYPE_CHECKING:
    from core.keys import ApiKey

Scope = Literal["read", "events", "admin"]


def create(
    name: str,
    /,
    *,
    scope: Annotated[list[Scope] | None, Parameter(json_list=False)] = None,
    days: float | None = None,
    as_json: AsJson = False,
    chosen: Chosen = NOT_CHOSEN,
) -> None:
    """Make a key, and show it once: only its hash is kept.

    Args:
        name: Who or what it is for.
        scope: read: ask for answers. events: send events. admin: everything. Give it again for more; without it, read.
        days: How many days it is valid; without it, until it is revoked.
    """
    from core.keys import create_key
    from core.layout import Layout
    from core.logs.audit import audited

    settings, scopes = chosen.resolve(), scope or ["read"]
    layout = Layout(settings.work_dir, settings.shop)
    with audited(layout.audit, "keys create", scopes=" ".join(scopes)) as details:
        made = create_key(layout.api_keys, name, scopes, days)
        details["key"] = made.key.id
    if as_json:
        print_json({**_row(made.key), "key": made.text.get_secret_value()})
        return
    show(made.text.get_secret_value())
    show_aside(f"key {made.key.id} of shop {settings.shop}, {', '.join(made.key.scopes)}: it is not shown again")


def list_keys(*, as_json: AsJson = False, chosen: Chosen = NOT_CHOSEN) -> None:
    """List the keys, oldest first: what each may do, and whether it is valid."""
    from core.keys import read_keys
    from core.layout import Layout

    settings = chosen.resolve()
    file = Layout(settings.work_dir, settings.shop).api_keys
    print_rows([_row(key) for key in read_keys(file).keys], as_json, none=f"no key was made yet: {file}")


def revoke(key: str, /, *, chosen: Chosen = NOT_CHOSEN) -> None:
    """Make a key invalid for good.

    Args:
        key: Its id, of `sommelier keys list`, or the key itself.
    """
    from core.keys import key_id_of, revoke_key
    from core.layout import Layout
    from core.logs.audit import audited

    settings = chosen.resolve()
    layout = Layout(settings.work_dir, settings.shop)
    # Before anything is recorded: a whole key has its secret in it.
    key_id = key_id_of(key)
    with audited(layout.audit, "keys revoke", key=key_id):
        revoked = revoke_key(layout.api_keys, key_id)
    show(f"revoked: {revoked.id}, {revoked.name}")


def _row(key: ApiKey) -> dict[str, str]:
    from datetime import UTC, datetime

    return {
        "id": key.id,
        "name": key.name,
        "scopes": " ".join(key.scopes),
        "state": key.state(datetime.now(UTC)),
        "created": key.created_at.isoformat(),
        "expires": key.expires_at.isoformat() if key.expires_at else "",
        "revoked": key.revoked_at.isoformat() if key.revoked_at else "",
    }
