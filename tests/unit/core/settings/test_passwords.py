from __future__ import annotations

import json

import pytest
import tomli_w
from prefect.utilities.schema_tools import validate
from pydantic import TypeAdapter, ValidationError

from core.errors import SettingsError
from core.settings.form import Address
from core.settings.loading import load_settings
from core.settings.names import setting_names
from core.settings.passwords import find_password, has_password, hide_passwords, is_secret_name
from core.settings.tree import Recipe, Settings


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


URL = "postgresql://bob:hush-77@db.shop/shop"
SQL = {
    "kind": "sql",
    "url": "postgresql://db.shop/shop",
    "queries": {"interactions": f"SELECT * FROM postgres_scan('{URL}')"},
}


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        ({"source": SQL}, "source.queries.interactions"),
        ({"source": {**SQL, "url": URL}}, "source.url"),
        ({"source": {"kind": "tables", "path": URL}}, "source.path"),
        ({"encoder": {"model": "https://me:hush-77@hub.example/model"}}, "encoder.model"),
        ({"source": {"kind": "tables", "path": "x", "date_formats": [URL]}}, "source.date_formats.0"),
    ],
)
def test_a_password_is_refused_wherever_it_stands_in_a_recipe_and_never_shown(recipe, name, tmp_path):
    with pytest.raises(ValidationError) as direct:
        Recipe.model_validate(recipe)
    with pytest.raises(
        SettingsError, match=rf"recipe\.{name}=.*expected \$\{{NAME\}} in the place of the password"
    ) as read:
        load_settings(overrides=[f"recipe={json.dumps(recipe)}"])
    file = tmp_path / "settings.toml"
    file.write_text(tomli_w.dumps({"recipe": recipe}))
    with pytest.raises(SettingsError):
        load_settings(file)
    assert "in the place of the password" in str(direct.value)
    for error in (direct, read):
        assert "hush" not in str(error.value)


def test_what_is_no_password_of_a_url_may_stand_in_a_query():
    query = "SELECT a AS user_id FROM log WHERE token = 'x' AND mail LIKE '%:b@c.example'"
    assert find_password({"source": {"queries": {"interactions": query}}}) is None
    assert find_password(Recipe().model_dump(mode="json")) is None
    assert find_password({"url": "postgresql://bob:${PW}@db.shop/shop"}) is None


@pytest.mark.parametrize("name", ["recipe.source.password", "serving.api_key", "feature_store.redis_token", "secret"])
def test_a_secret_under_a_name_that_there_is_not_is_not_shown(name):
    with pytest.raises(SettingsError, match=rf"unknown name {name}=\*\*\*, expected a name that there is"):
        load_settings(overrides=[f"{name}=hush-77"])
    with pytest.raises(ValidationError) as error:
        Recipe.model_validate({"source": {"kind": "tables", "path": "x", "password": "hush-77"}})
    assert "hush" not in str(error.value)


def test_no_setting_holds_a_secret():
    assert not [name for name in setting_names(Settings) if is_secret_name(name)]
