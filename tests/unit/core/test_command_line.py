"""A shop that is not named is called after its data."""

from pathlib import Path

import pytest

from core.settings.command_line import shop_name


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/Reviews_5.json.gz", "reviews_5"), ("amazon-beauty-2014", "amazon-beauty-2014"), ("x/__.csv", "shop")],
)
def test_a_shop_is_called_after_its_data(path, name):
    assert shop_name(Path(path)) == name
