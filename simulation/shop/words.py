"""The words of the simulated shop, a delicatessen. Data only: the catalogue and the reviews are composed of them."""

from __future__ import annotations

from dataclasses import dataclass

# What an item tastes like, or is made of, and the notes by which a text hints at it.
CHARACTERS: dict[str, tuple[str, ...]] = {
    "smoky": ("campfire", "charred oak", "peat smoke", "embers"),
    "floral": ("jasmine", "rose petal", "elderflower", "orange blossom"),
    "fruity": ("ripe berries", "stone fruit", "baked apple", "dried cherry"),
    "citrus": ("lemon zest", "blood orange", "grapefruit peel", "bergamot"),
    "nutty": ("toasted hazelnut", "almond skin", "roast chestnut", "walnut"),
    "earthy": ("forest floor", "wet stone", "beetroot", "mushroom"),
    "spicy": ("black pepper", "clove", "ginger heat", "cardamom"),
    "creamy": ("sweet butter", "vanilla custard", "clotted cream", "caramel"),
    "herbal": ("wild thyme", "bay leaf", "garden mint", "sage"),
    "malty": ("warm bread", "barley sugar", "brown toast", "biscuit"),
    "cast-iron": ("even heat", "a heavy base", "a lifetime of searing"),
    "copper": ("a bright glow", "quick heat", "a hammered finish"),
    "walnut-wood": ("a dark grain", "a warm grip", "an oiled surface"),
    "porcelain": ("a thin rim", "a white glaze", "a fine ring"),
    "steel": ("a clean edge", "a brushed finish", "a firm balance"),
}
MATERIALS = ("cast-iron", "copper", "walnut-wood", "porcelain", "steel")
FLAVOURS = tuple(name for name in CHARACTERS if name not in MATERIALS)

RANGES = ("everyday", "fine", "rare")
RANGE_WORDS = {
    "everyday": ("Kitchen", "Daily", "House", "Simple"),
    "fine": ("Reserve", "Select", "Estate", "Grand"),
    "rare": ("Heirloom", "Single-lot", "Cellar", "Vintage"),
}
RANGE_SENTENCES = {
    "everyday": ("Good value for every day.", "Made for the daily table.", "An honest staple of the larder."),
    "fine": ("Chosen by our buyers.", "A step up for good company.", "Made in small batches."),
    "rare": ("Numbered and hard to find.", "A treat for those who know.", "Only a few hundred were made this year."),
}


@dataclass(frozen=True)
class Section:
    """One shelf of the shop.

    Attributes:
        styles: Style to the nouns that a title may use for it.
        origins: Where its items come from.
        makers: Brands.
        characters: What its items can taste like or be made of.
        sizes: How it is packed.
        price: Median of an everyday item, in the shop's currency.
        occasions: When people use it.
        goes_with: Sections that a buyer of this one tends to turn to next.
    """

    styles: dict[str, tuple[str, ...]]
    origins: tuple[str, ...]
    makers: tuple[str, ...]
    price: float
    occasions: tuple[str, ...]
    goes_with: tuple[str, ...]
    characters: tuple[str, ...] = FLAVOURS
    sizes: tuple[str, ...] = ("100 g", "250 g", "500 g", "small", "large", "gift box")


SECTIONS: dict[str, Section] = {
    "Tea": Section(
        {
            "Black tea": ("Assam", "Keemun", "Breakfast Blend", "Orange Pekoe"),
            "Green tea": ("Sencha", "Gunpowder", "Dragon Well", "Jade Tips"),
            "Oolong": ("Oolong", "Iron Goddess", "Milk Oolong"),
            "Infusion": ("Infusion", "Tisane", "Evening Blend"),
        },
        ("Yunnan", "Darjeeling", "Uji", "Fujian", "Ceylon"),
        ("Harbour & Leaf", "Nine Kettles", "Moss Lane", "Paper Crane"),
        9.0,
        ("at four o'clock", "before bed", "with the morning paper", "on rainy days"),
        ("Honey", "Kitchenware"),
    ),
    "Coffee": Section(
        {
            "Espresso": ("Espresso Beans", "Crema Roast", "Ristretto Beans"),
            "Filter": ("Filter Beans", "Pour-over Roast", "Light Roast"),
            "Decaf": ("Decaf Beans", "Quiet Roast"),
        },
        ("Ethiopia", "Colombia", "Sumatra", "Guatemala", "Kenya"),
        ("Third Bell", "Copper Drum", "Night Ferry", "Slow Wheel"),
        12.0,
        ("first thing", "after lunch", "at the office", "on long drives"),
        ("Chocolate", "Kitchenware"),
    ),
    "Wine": Section(
        {
            "Red": ("Syrah", "Pinot Noir", "Tempranillo", "Nebbiolo"),
            "White": ("Riesling", "Chenin Blanc", "Albarino", "Chardonnay"),
            "Sparkling": ("Cava", "Cremant", "Pet Nat"),
            "Fortified": ("Sherry", "Port", "Madeira"),
        },
        ("Rhone", "Mosel", "Rioja", "Piedmont", "Douro", "Loire"),
        ("Chateau Brume", "Quinta do Sol", "Weingut Adler", "Bodega Luna"),
        16.0,
        ("with Sunday roast", "with friends", "on our anniversary", "by the fire"),
        ("Cheese", "Cheese", "Chocolate"),
        sizes=("75 cl", "half bottle", "magnum", "case of six"),
    ),
    "Cheese": Section(
        {
            "Hard": ("Gruyere", "Mountain Cheese", "Pecorino", "Old Gouda"),
            "Soft": ("Brie", "Goat Log", "Triple Cream"),
            "Blue": ("Blue", "Stilton", "Gorgonzola"),
        },
        ("Jura", "Normandy", "Wensleydale", "Sardinia", "Asturias"),
        ("Alpine Dairy", "Old Barn", "Three Goats", "Cave No. 9"),
        11.0,
        ("on a cheese board", "at a picnic", "after dinner", "in a toastie"),
        ("Wine", "Wine", "Honey"),
    ),
    "Chocolate": Section(
        {
            "Dark bar": ("Dark Bar", "Seventy Percent Bar", "Bitter Bar"),
            "Milk bar": ("Milk Bar", "Soft Milk Bar"),
            "Truffles": ("Truffles", "Ganache Box", "Pralines"),
        },
        ("Madagascar", "Ecuador", "Belize", "Trinidad"),
        ("Cacao Nord", "Velvet Mill", "Bean & Moon", "Tall Ship"),
        6.0,
        ("with coffee", "as a present", "on the sofa", "in my lunch box"),
        ("Coffee", "Wine"),
    ),
    "Honey": Section(
        {
            "Honey": ("Heather Honey", "Blossom Honey", "Forest Honey", "Comb Honey"),
            "Preserve": ("Marmalade", "Jam", "Fruit Butter", "Chutney"),
        },
        ("Provence", "the Highlands", "Tasmania", "Tuscany"),
        ("Hive Street", "Orchard Row", "Bramble & Sons"),
        8.0,
        ("on toast", "in porridge", "on pancakes", "stirred into tea"),
        ("Tea", "Cheese"),
    ),
    "Oils and spices": Section(
        {
            "Oil": ("Olive Oil", "Walnut Oil", "Pressed Oil"),
            "Spice": ("Paprika", "Curry Blend", "Peppercorns", "Spice Rub"),
            "Salt": ("Sea Salt", "Finishing Salt"),
        },
        ("Crete", "Andalusia", "Kerala", "Brittany", "Oaxaca"),
        ("Salt Road", "Grove Nine", "Bazaar & Co", "Pepper House"),
        7.0,
        ("on salads", "in stews", "on grilled fish", "for the barbecue"),
        ("Kitchenware", "Wine"),
    ),
    "Kitchenware": Section(
        {
            "Brewing": ("Teapot", "Coffee Dripper", "Kettle", "Hand Grinder"),
            "Cutting": ("Paring Knife", "Cheese Knife", "Serving Board"),
            "Cooking": ("Skillet", "Saucepan", "Mortar"),
        },
        ("Sheffield", "Seki", "Solingen", "Limoges"),
        ("Forge & Field", "Quiet Hands", "Hearth Works"),
        28.0,
        ("every day", "when guests come", "for Sunday cooking", "in our small kitchen"),
        ("Tea", "Coffee", "Oils and spices"),
        MATERIALS,
        ("small", "medium", "large", "boxed", "set of two"),
    ),
}

# These come to the shop only in the drift scenario "catalogue".
NEW_ORIGINS = ("Busan", "Nagano", "Patagonia", "Gdansk", "Oregon")
NEW_SECTION = "Ferments"
NEW_SECTIONS: dict[str, Section] = {
    NEW_SECTION: Section(
        {
            "Kimchi": ("Kimchi", "White Kimchi", "Radish Kimchi"),
            "Miso": ("Red Miso", "White Miso", "Barley Miso"),
            "Kombucha": ("Kombucha", "Ginger Brew", "Live Brew"),
        },
        NEW_ORIGINS,
        ("Crock & Culture", "Wild Jar", "Bubble Yard"),
        21.0,
        ("with rice", "on a sandwich", "as a side", "after a run"),
        ("Tea", "Oils and spices"),
        ("earthy", "spicy", "malty"),
    )
}

COUNTRIES = ("United Kingdom", "France", "Germany", "Spain", "Netherlands")
AGE_GROUPS = ("18-24", "25-34", "35-49", "50-64", "65+")
GENDERS = ("female", "male", "other")
