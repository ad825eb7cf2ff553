"""Which items: what filters, boosts and buries of every list say of them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from serving.api.message import MAX_IDS, Id, Ids, Message, no_items

MAX_ATTRIBUTES = 20
Price = Annotated[float, Field(ge=0)]
Names = Annotated[list[Id], Field(min_length=1, max_length=MAX_IDS)]
Text = Annotated[str, StringConstraints(max_length=2000)]


class AttributeFilter(Message):
    """One attribute of the catalogue, by equality or by a range. Items without the attribute do not pass."""

    name: Id = Field(description="Of the attribute. An unknown one is answered 400 with the known names.")
    equals: Text | float | None = Field(None, description="Items whose value is this.")
    any_of: Annotated[list[Text | float], Field(min_length=1, max_length=MAX_IDS)] | None = Field(
        None, description="Items whose value is one of these."
    )
    min: float | None = Field(None, description="Items whose value is at least this number.")
    max: float | None = Field(None, description="Items whose value is at most this number.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        is_range = self.min is not None or self.max is not None
        if (self.equals is not None) + (self.any_of is not None) + is_range != 1:
            raise ValueError("expected equals, any_of, or min and max: one of the three")
        _check_range("min", self.min, "max", self.max)
        return self


class ItemCriteria(Message):
    """Items of the catalogue: those that meet everything that is given."""

    categories: Names | None = Field(
        None, description="Only items in these categories or below them ('Cheese' includes 'Cheese > Hard')."
    )
    brands: Names | None = Field(None, description="Only items of these brands.")
    min_price: Price | None = Field(
        None, description="Only items that cost at least this. Items without a price are left out."
    )
    max_price: Price | None = Field(
        None, description="Only items that cost at most this. Items without a price are left out."
    )
    in_stock: bool | None = Field(
        None,
        description="true: only items in stock; false: only items out of stock. It is the attribute `in_stock` of the "
        "catalogue (true, yes, in stock, or a number above 0): of the bundle in service, and as `PATCH "
        "/v1/items/{item_id}` set it since.",
    )
    attributes: Annotated[list[AttributeFilter], Field(max_length=MAX_ATTRIBUTES)] = no_items(
        "Only items with these values: any column of the catalogue, the shop's own among them."
    )

    @model_validator(mode="after")
    def _prices_in_order(self) -> Self:
        _check_range("min_price", self.min_price, "max_price", self.max_price)
        return self

    @property
    def criteria(self) -> tuple[str, ...]:
        """Which of its own fields are given; those of a class that builds on it are none of them."""
        return tuple(name for name in ItemCriteria.model_fields if getattr(self, name) not in (None, []))


class ItemMatch(ItemCriteria):
    """Items by their ids, by what they are, or both."""

    items: Annotated[Ids, Field(min_length=1)] | None = Field(
        None, description="Item ids; only these. Ids that are not in the catalogue match nothing."
    )

    @model_validator(mode="after")
    def _not_everything(self) -> Self:
        if self.items is None and not self.criteria:
            raise ValueError("nothing says which items, expected items, categories or another filter")
        return self


def _check_range(low_name: str, low: float | None, high_name: str, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        raise ValueError(f"{low_name}={low:g} and {high_name}={high:g}, expected the first to be no larger")
