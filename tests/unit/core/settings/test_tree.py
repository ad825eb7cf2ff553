import json
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from core.errors import SettingsError, WrongUsage
from core.settings.loading import load_settings, parse_settings
from core.settings.models import LanguageModelWriterSettings, SmallWriterSettings
from core.settings.platform import PartName
from core.settings.source import Amazon2014Source, SimulatedSource, TablesSource
from core.settings.tree import Recipe, Settings


def test_defaults_are_whole():
    settings = load_settings()
    assert settings.shop == "simulated"
    assert isinstance(settings.recipe.source, SimulatedSource)
    assert isinstance(settings.recipe.writer, SmallWriterSettings)


def test_later_layers_win(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text('shop = "tea"\n[recipe]\nseed = 1\n[recipe.source]\nn_users = 50\nn_items = 60\n')
    variables = {"SOMMELIER_RECIPE__SEED": "2", "SOMMELIER_RECIPE__SOURCE__N_USERS": "70", "HOME": "ignored"}
    settings = load_settings(file, variables, ["recipe.seed=3"])
    assert settings.shop == "tea"
    assert settings.recipe.seed == 3
    assert isinstance(settings.recipe.source, SimulatedSource)
    assert (settings.recipe.source.n_users, settings.recipe.source.n_items) == (70, 60)


def test_kind_chooses_the_variant():
    settings = load_settings(overrides=["recipe.source.kind=amazon-2014", "recipe.source.path=some/where"])
    assert settings.recipe.source == Amazon2014Source(path=Path("some/where"))
    writer = load_settings(overrides=["recipe.writer.kind=language_model", "recipe.writer.model=m"]).recipe.writer
    assert writer == LanguageModelWriterSettings(model="m")


def test_an_override_may_be_json_or_a_plain_string():
    source = {"kind": "tables", "path": "x", "columns": {"items": {"title": "name"}}}
    settings = load_settings(overrides=[f"recipe.source={json.dumps(source)}", "shop=tea-7"])
    assert settings.recipe.source == TablesSource(path=Path("x"), columns={"items": {"title": "name"}})
    assert settings.shop == "tea-7"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("recipe.sequence.widht=3", r"recipe\.sequence\.widht=3"),
        ("recipe.sequence.width=3", r"recipe\.sequence\.width=3"),
        ("recipe.encoder.precision=half", r"recipe\.encoder\.precision='half'"),
        ("recipe.source.kind=nosuch", "nosuch"),
        ("shop=No Good", "shop='No Good'"),
        ("recipe.seed", "--set recipe.seed"),
        ("shop.name=x", "shop={.name.: .x.}"),
    ],
)
def test_a_bad_override_is_quoted(override, says):
    with pytest.raises(SettingsError, match=says):
        load_settings(overrides=[override])


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("source.time_zone=Europe/Atlantis", "'Europe/Atlantis', expected a time zone of the IANA list"),
        ("source.time_zone=", "time_zone=''"),
        ('source.date_formats=["%Y-%m-%d", "dd/mm/yyyy"]', "expected formats as in strptime.*not dd/mm/yyyy"),
        ('source.date_formats=["%d/%Q"]', "'%d/%Q'"),
        ('source.date_formats=["%d/%m/%Y %"]', "'%d/%m/%Y %'"),
        ('source.values={"orders": {"event": {"a": "cart"}}}', "orders"),
        ('source.values={"interactions": {"evnt": {"a": "cart"}}}', "one of event_id, user_id.*not evnt"),
        ('source.values={"interactions": {"event": {"a": "basket"}}}', "one of impression.*a is mapped to basket"),
        ("validation.cleaning.rating_scale=[5, 5]", r"rating_scale=\[5, 5\], expected the lowest rating"),
        ("validation.cleaning.rating_scale=[10, 0]", r"rating_scale=\[10, 0\]"),
        ("validation.cleaning.rating_scale=[0, Infinity]", "finite"),
    ],
)
def test_how_a_source_writes_is_checked_when_settings_are_read(override, says):
    with pytest.raises(SettingsError, match=says):
        load_settings(overrides=["recipe.source.kind=tables", "recipe.source.path=x", f"recipe.{override}"])


def test_how_a_source_may_write():
    values = {"interactions": {"event": {"Add": "Cart", "ping": ""}, "value": {"good": "4"}}}
    given = {"kind": "tables", "path": "x", "date_formats": ["%-d.%-m.%y %H:%M:%S.%f %z", "100%% %Y"], "values": values}
    source = load_settings(
        overrides=[f"recipe.source={json.dumps({**given, 'time_zone': 'Asia/Tokyo'})}"]
    ).recipe.source
    assert isinstance(source, TablesSource)
    assert (source.time_zone, source.values) == ("Asia/Tokyo", values)


def test_a_group_cannot_lie_below_a_value():
    with pytest.raises(SettingsError, match=r"shop\.name"):
        load_settings(overrides=["shop=x", "shop.name=y"])


@pytest.mark.parametrize("content", ["shop =", None])
def test_an_unreadable_file_is_named(tmp_path, content):
    file = tmp_path / "s.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=r"s\.toml"):
        load_settings(file)


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().shop = "other"


def test_a_recipe_survives_json():
    recipe = load_settings(overrides=["recipe.source.kind=recbole", "recipe.source.path=x"]).recipe
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_the_form_says_any_of_where_a_variant_is_chosen():
    properties = Recipe.model_json_schema()["properties"]
    for name in ("source", "writer"):
        assert "anyOf" in properties[name]
        assert "oneOf" not in properties[name]


def test_every_recipe_setting_of_the_models_says_what_it_is():
    tree = Recipe.model_json_schema()["$defs"]["SimulatedSource"]["properties"]
    assert all("description" in field for name, field in tree.items() if name != "kind")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("time_zone=Europe/Berlim", "time_zone='Europe/Berlim', expected a time zone of the IANA list"),
        ('date_formats=["DD/MM/YYYY"]', r"not DD/MM/YYYY"),
        ('date_formats=["%Y-%m-%d %Q"]', r"not %Y-%m-%d %Q"),
        ('date_formats=["%d.%m. %H:%M"]', r"with a year"),
        ('values={"interactions": {"evnt": {"pv": "view"}}}', "a column of interactions, one of event_id.*; not evnt"),
        ('values={"interactions": {"event": {"pv": "viewed"}}}', "one of impression, view.*; pv is mapped to viewed"),
        ('values={"feedback": {"rating": {"good": "great"}}}', "a number; good is mapped to great"),
        ('values={"events": {}}', "values.events"),
    ],
)
def test_forms_of_a_source_that_cannot_be_are_one_clear_error(override, says):
    overrides = ["recipe.source.kind=tables", "recipe.source.path=x", f"recipe.source.{override}"]
    with pytest.raises(SettingsError, match=says) as refused:
        load_settings(None, {}, overrides)
    assert "Value error" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_tree_of_plain_values_is_checked():
    assert parse_settings({"recipe": {"seed": 5}}).recipe.seed == 5
    with pytest.raises(SettingsError, match=r"recipe\.seed=-1"):
        parse_settings({"recipe": {"seed": -1}})


@pytest.mark.parametrize(
    "override",
    [
        'recipe.source={"kind": "sql", "url": "postgresql://bob:hush@db/shop", "queries": {"items": "SELECT 1"}}',
        "feature_store.postgres=postgresql://bob:hush@db/shop",
        "feature_store.redis=db:6379,password=hush",
    ],
)
def test_a_password_in_the_settings_is_refused_and_not_repeated(override: str) -> None:
    with pytest.raises(SettingsError, match=r"expected \$\{NAME\} in the place of the password") as raised:
        load_settings(overrides=[override])
    assert "hush" not in str(raised.value)


def test_a_recipe_keeps_the_name_of_a_variable_and_not_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "hush")
    url = "postgresql://bob:${SHOP_PASSWORD}@db/shop"
    source = json.dumps({"kind": "sql", "url": url, "queries": {"items": "SELECT 1"}})
    settings = load_settings(overrides=[f"recipe.source={source}", f"feature_store.postgres={url}"])
    assert "hush" not in settings.model_dump_json()
    assert "${SHOP_PASSWORD}" in settings.recipe.model_dump_json()


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("14d", timedelta(days=14)),
        ("PT6H", timedelta(hours=6)),
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T06:00:00+02:00", datetime(2026, 5, 1, 4, tzinfo=UTC)),
    ],
)
def test_a_window_opens_at_a_date_or_a_duration_before_its_end(given, read):
    recipe = load_settings(overrides=[f"recipe.evaluation.test_from={given}"]).recipe
    assert recipe.evaluation.test_from == read
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize("given", ["14", "0.1", "1777593600", "-3d", "PT0S", "soon"])
def test_a_window_of_no_known_form_is_refused(given):
    with pytest.raises(SettingsError, match=r"evaluation\.test_from"):
        load_settings(overrides=[f"recipe.evaluation.test_from={given}"])


@pytest.mark.parametrize(
    ("chosen", "needs"),
    [
        ([], False),
        (["platform.host=localhost"], False),
        (["platform.service_host=::1"], False),
        (["platform.service_host=127.8.8.8"], False),
        (["platform.host=0.0.0.0"], True),
        (["platform.host=0.0.0.0", "platform.service_host=127.0.0.1"], False),
        (["platform.service_host=::"], True),
        (["platform.service_host=10.0.0.8"], True),
        (["platform.service_host=shop.example"], True),
        (["serving.require_keys=always"], True),
        (["platform.host=0.0.0.0", "serving.require_keys=never", "serving.open_to_all=true"], False),
    ],
)
def test_keys_are_needed_as_soon_as_the_service_listens_beyond_loopback(chosen, needs):
    settings = load_settings(overrides=chosen)
    settings.check_exposure()
    assert settings.needs_keys is needs


def test_a_service_for_everybody_has_to_be_asked_for_outright():
    settings = load_settings(overrides=["platform.host=0.0.0.0", "serving.require_keys=never"])
    with pytest.raises(
        SettingsError,
        match=r"^Cannot start the service: serving\.require_keys=never on host 0\.0\.0\.0, expected API keys",
    ):
        settings.check_exposure()


def test_what_has_no_keys_is_opened_to_others_where_something_guards_it():
    chosen = ["platform.host=0.0.0.0", 'platform.guarded=["monitoring"]']
    load_settings(overrides=chosen).check_exposure(["service", "monitoring", "reports"])
    with pytest.raises(SettingsError) as error:
        load_settings(overrides=chosen).check_exposure(get_args(PartName))
    assert str(error.value) == (
        "Cannot start prefect: host=0.0.0.0, expected 127.0.0.1 of what has no API keys: whoever reaches it may use "
        "it. Set platform.prefect_host=127.0.0.1; or, where something in front lets in only whom it should, say so: "
        '--set \'platform.guarded=["monitoring", "prefect"]\'.'
    )
    # As a shell hands it on.
    copied = shlex.split(str(error.value).rpartition("--set ")[2].removesuffix("."))
    load_settings(overrides=[chosen[0], *copied]).check_exposure(get_args(PartName))
    load_settings(overrides=[*chosen, "platform.prefect_host=::1"]).check_exposure(get_args(PartName))
    both = load_settings(overrides=[chosen[0], 'platform.guarded=["prefect", "monitoring"]'])
    both.check_exposure(get_args(PartName))


@pytest.mark.parametrize("part", ["service", "reports", "work"])
def test_what_has_keys_is_not_guarded_by_something_else(part):
    with pytest.raises(SettingsError, match=r"platform\.guarded"):
        load_settings(overrides=[f'platform.guarded=["{part}"]'])


def test_the_reports_need_keys_by_the_address_that_they_listen_on():
    settings = load_settings(overrides=["platform.reports_host=0.0.0.0"])
    assert (settings.needs_keys, settings.needs_keys_at("reports")) == (False, True)
    never = load_settings(overrides=["platform.reports_host=10.0.0.8", "serving.require_keys=never"])
    with pytest.raises(
        SettingsError, match=r"^Cannot start the reports: serving\.require_keys=never on host 10\.0\.0\.8"
    ):
        never.check_exposure(["reports"])


def test_the_key_of_a_client_is_no_setting():
    settings = load_settings(variables={"SOMMELIER_API_KEY": "som_secret", "SOMMELIER_SHOP": "tea"})
    assert settings.shop == "tea"
    assert "som_secret" not in settings.model_dump_json()


@pytest.mark.parametrize("origin", ["https://shop.example", "http://127.0.0.1:8080", "*"])
def test_origins_are_as_browsers_write_them(origin):
    assert load_settings(overrides=[f'serving.cors_origins=["{origin}"]']).serving.cors_origins == (origin,)


@pytest.mark.parametrize("origin", ["shop.example", "https://shop.example/", "https://*.example", "null", ""])
def test_what_is_no_origin_is_refused(origin):
    with pytest.raises(SettingsError, match=r"serving\.cors_origins=.*expected origins as browsers write them"):
        load_settings(overrides=[f'serving.cors_origins=["{origin}"]'])


@pytest.mark.parametrize("name", ["2024", "true", "null", "1e5", "07"])
def test_a_text_may_read_as_json(name):
    assert load_settings(variables={"SOMMELIER_SHOP": name}).shop == name
    source = ["recipe.source.kind=tables", f"recipe.source.path={name}"]
    mapped = f"recipe.source.columns.interactions.user_id={name}"
    settings = load_settings(overrides=[f"shop={name}", f"work_dir={name}", *source, mapped])
    assert (settings.shop, settings.work_dir, settings.recipe.source.path) == (name, Path(name), Path(name))
    assert settings.recipe.source.columns == {"interactions": {"user_id": name}}


def test_what_was_replaced_does_not_come_back():
    source = 'recipe.source={"kind": "tables", "path": 5}'
    with pytest.raises(WrongUsage, match=r"recipe\.source\.path=5, expected Input is not a valid path"):
        load_settings(variables={"SOMMELIER_RECIPE__SOURCE__PATH": "7"}, overrides=[source])
    assert load_settings(variables={"SOMMELIER_SHOP": "7"}, overrides=["shop=8"]).shop == "8"
