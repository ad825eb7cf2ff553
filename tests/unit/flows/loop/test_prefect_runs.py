"""The tags by which Prefect tells shops apart."""

from flows.loop.prefect_runs import shop_of, shop_tag


def test_tags_name_the_shop():
    assert shop_of(["sommelier", shop_tag("vineyard"), "training"]) == "vineyard"
    assert shop_of(["sommelier", "training"]) is None
