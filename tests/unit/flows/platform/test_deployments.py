"""Serving a shop's deployments to a server elsewhere: what refuses it before anything is served."""

import pytest

from core.errors import NotRunning
from core.layout import Layout
from core.settings.loading import load_settings
from flows.errors import ShopTaken
from flows.platform.deployments import serve_shop
from flows.platform.served_shops import serving
from tests.integration.conftest import free_port


@pytest.fixture
def settings(tmp_path):
    given = [f"work_dir={tmp_path}", "shop=tiny", f"platform.prefect_port={free_port()}"]
    return load_settings(overrides=given)


def test_no_server_within_the_time_is_said_with_its_address(settings):
    with pytest.raises(NotRunning, match=f"no Prefect server at http://127.0.0.1:{settings.platform.prefect_port}"):
        serve_shop(settings, print, wait_s=0.0)
    assert not Layout(settings.work_dir, settings.shop).recipe.exists()


def test_a_shop_that_is_served_already_is_refused(settings):
    with serving(Layout(settings.work_dir, settings.shop).root, "r1"), pytest.raises(ShopTaken, match="tiny"):
        serve_shop(settings, print, wait_s=0.0)
