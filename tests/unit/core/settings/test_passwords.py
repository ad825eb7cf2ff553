from __future__ import annotations

import pytest
from prefect.utilities.schema_tools import validate
from pydantic import TypeAdapter

from core.settings.form import Address
from core.settings.passwords import has_password, hide_passwords


def is_accepted(address: str) -> bool:
    """Whether Prefect takes it as a parameter, which knows no more than the schema."""
    return not validate({"address": address}, {"properties": {"address": TypeAdapter(Address).json_schema()}})


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://bob:hush@db.shop/shop", "postgresql://:hush@db.shop", "postgresql://bob:hu@sh/2@db.shop:5432/shop",
        "postgresql://bob:${PART}hush@db.shop", "postgresql://db.shop/shop?user=bob&password=hush&sslmode=require",
        "db.shop:6379,db=1,password=hush", "host=db.shop password='hu sh'", "redis://:hush@db.shop:6379/0",
        "postgresql://db.shop/shop?sslpassword=${A}hush", "https://db.shop/shop?access_token=hush",
        "db.shop,API_KEY=hush",
    ],
)  # fmt: skip
def test_a_password_is_found_and_hidden(address: str) -> None:
    assert has_password(address)
    assert not is_accepted(address)
    shown = hide_passwords(address)
    assert "sh" not in shown.replace("shop", "")
    assert "db.shop" in shown


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://bob@db.shop/shop", "postgresql://bob:${PW}@db.shop:5432/shop", "postgresql://127.0.0.1:5432/shop",
        "postgresql://${USER}:${PW}@${HOST}:5432/shop", "db.shop:6379,db=1,password=${PW}", "sqlite:////data/a:b@c.db",
        "postgresql://db.shop:5432/shop?application_name=a@b", "postgresql://[::1]:5432/shop",
        "postgresql://bob:${A}${B}@db.shop/shop", "postgresql://db.shop/shop?sslpassword=${A}${B}&sslmode=require",
    ],
)  # fmt: skip
def test_an_address_without_a_password_has_none(address: str) -> None:
    assert not has_password(address)
    assert is_accepted(address)
