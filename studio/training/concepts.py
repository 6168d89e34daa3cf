"""What the built-in model knows: a choice of emoji, their names and other words for them."""

from dataclasses import dataclass

SUBGROUPS: tuple[str, ...] = (
    "animal-mammal", "animal-bird", "animal-amphibian", "animal-reptile", "animal-marine",
    "animal-bug", "plant-flower", "plant-other", "food-fruit", "food-vegetable", "food-prepared",
    "food-asian", "food-sweet", "drink", "place-geographic", "place-building", "place-religious",
    "place-other", "transport-ground", "transport-water", "transport-air", "sky-weather", "event",
    "award-medal", "sport", "game", "arts-crafts", "clothing", "music", "musical-instrument",
    "computer", "light-video", "tool", "household", "face-costume", "face-smiling",
    "face-glasses", "face-hat", "hotel",
)  # fmt: skip
"""Subgroups of emojibase that are taken whole, but for `LEFT_OUT`."""

LEFT_OUT: frozenset[str] = frozenset(
    label.strip()
    for label in """guide dog; service dog; black cat; ox; water buffalo; pig nose; ram; ewe; two-hump camel; paw prints
    turkey; hatching chick; front-facing baby chick; dodo; feather; wing; black bird; phoenix; dragon face
    spouting whale; orca; coral; oyster; cricket; cockroach; fly; worm; microbe; spider web; mosquito; bug
    white flower; rosette; wilted flower; hyacinth; sheaf of rice; shamrock; leaf fluttering in wind
    empty nest; leafless tree; brown mushroom; root vegetable; leafy green; ginger root; pea pod; beans
    flatbread; poultry leg; cut of meat; burrito; tamale; stuffed flatbread; falafel; fondue; shallow pan of food
    pot of food; cooking; bowl with spoon; butter; salt; canned food; bento box; rice cracker; curry rice; oden
    roasted sweet potato; fish cake with swirl; moon cake; dango; takeout box; shaved ice; shortcake; custard
    honey pot; baby bottle; teacup without handle; sake; bottle with popping cork; clinking beer mugs
    clinking glasses; pouring liquid; beverage box; mate; ice; tumbler glass; landslide; mount fuji; national park
    building construction; brick; houses; derelict house; Japanese post office; post office; love hotel
    convenience store; department store; wedding; Tokyo tower; kaaba; hindu temple; synagogue; shinto shrine
    foggy; sunrise; cityscape at dusk; bridge at night; hot springs; barber pole; playground slide
    railway car; high-speed train; train; metro; light rail; station; mountain railway; tram car; oncoming bus
    trolleybus; minibus; oncoming police car; oncoming taxi; oncoming automobile; articulated lorry
    manual wheelchair; motorized wheelchair; auto rickshaw; bus stop; motorway; oil drum; roller skate
    construction; horizontal traffic light; police car light; ferry; motor boat; airplane departure
    airplane arrival; seat; suspension railway; mountain cableway; aerial tramway; new moon
    waxing crescent moon; first quarter moon; waxing gibbous moon; waning gibbous moon; last quarter moon
    waning crescent moon; new moon face; first quarter moon face; last quarter moon face; thermometer
    full moon face; glowing star; milky way; sun behind small cloud; sun behind large cloud
    sun behind rain cloud; cloud with lightning and rain; fog; wind face; closed umbrella
    umbrella with rain drops; snowman without snow; comet; cyclone; sparkler; tanabata tree; pine decoration
    Japanese dolls; carp streamer; wind chime; moon viewing ceremony; red envelope; reminder ribbon
    admission tickets; ticket; confetti ball; 1st place medal; 2nd place medal; 3rd place medal; military medal
    softball; flying disc; cricket game; field hockey; ice hockey; lacrosse; badminton; goal net; flag in hole
    curling stone; martial arts uniform; rugby football; diving mask; slot machine; spade suit; heart suit
    diamond suit; club suit; joker; mahjong red dragon; flower playing cards; piñata; mirror ball
    performing arts; sewing needle; knot; thread; goggles; lab coat; safety vest; kimono; sari
    one-piece swimsuit; briefs; bikini; woman’s clothes; folding hand fan; clutch bag; thong sandal
    flat shoe; woman’s sandal; hair pick; prayer beads; military helmet; rescue worker’s helmet; musical score
    musical notes; level slider; control knobs; long drum; low battery; trackball; computer disk; dvd
    optical disk; film frames; film projector; magnifying glass tilted right; camera with flash; diya lamp
    videocassette; hammer and pick; hammer and wrench; crossed swords; broken chain; clamp; white cane; link
    nut and bolt; hook; pick; elevator; window; plunger; shower; mouse trap; razor; lotion bottle; safety pin
    roll of paper; bubbles; sponge; mirror; bathtub; ogre; goblin; pile of poo; beaming face with smiling eyes
    grinning face with smiling eyes; grinning squinting face; rolling on the floor laughing; melting face
    upside-down face; grinning face with sweat; slightly smiling face; bellhop bell; disguised face
    face with monocle; mate; ballet shoes; running shirt; boomerang; carpentry saw; abacus; printer"""
    .replace("\n", ";").split(";")
)  # fmt: skip
"""Labels left out of a first, small world: near doubles, rarities and what 128 pixels cannot show."""

EXTRA: tuple[str, ...] = (
    "red heart", "boy", "girl", "man", "woman", "baby", "old man", "old woman", "person: beard",
    "person: blond hair", "woman: red hair", "astronaut", "firefighter", "police officer", "cook",
    "farmer", "scientist", "artist", "pilot", "detective", "ninja", "prince", "princess",
    "Santa Claus", "superhero", "mage", "fairy", "vampire", "mermaid", "elf", "zombie",
    "crying face", "angry face", "sleeping face", "thinking face", "smiling face with heart-eyes",
    "winking face", "face with open mouth", "alarm clock", "hourglass done", "watch", "book",
    "open book", "books", "pencil", "crayon", "paintbrush", "envelope", "package", "scissors",
    "key", "old key", "coin", "money bag", "mobile phone", "telephone", "calendar", "briefcase",
    "bell", "megaphone", "microscope", "telescope", "pill", "test tube", "globe showing Americas",
    "world map", "compass", "bomb", "fork and knife with plate", "kitchen knife", "spoon", "jar",
    "amphora", "treasure chest", "pushpin", "locked", "woman dancing", "snowboarder", "skier",
    "person surfing", "thumbs up", "waving hand", "eye", "brain", "bone", "tooth", "closed book",
    "skull", "stethoscope", "newspaper", "postbox", "scroll",
)  # fmt: skip
"""Single labels taken from the other subgroups."""

NAMES: dict[str, str] = {
    "automobile": "car", "deciduous tree": "tree", "evergreen tree": "pine tree", "ear of corn": "corn",
    "soft ice cream": "ice cream cone", "ice cream": "bowl of ice cream", "lady beetle": "ladybug",
    "honeybee": "bee", "sauropod": "long-necked dinosaur", "T-Rex": "t-rex dinosaur",
    "wrapped gift": "gift", "snow-capped mountain": "snowy mountain", "hot beverage": "cup of coffee",
    "sport utility vehicle": "suv", "locomotive": "steam train", "bullet train": "high-speed train",
    "passenger ship": "cruise ship", "fire engine": "fire truck", "flying saucer": "ufo",
    "night with stars": "starry night", "cheese wedge": "cheese", "steaming bowl": "bowl of noodles",
    "cooked rice": "bowl of rice", "open book": "open book", "closed book": "book",
    "jack-o-lantern": "halloween pumpkin", "person: beard": "man with a beard", "red apple": "apple",
    "person: blond hair": "person with blond hair", "woman: red hair": "woman with red hair",
    "cook": "chef", "mage": "wizard", "hourglass done": "hourglass", "old key": "antique key",
    "magnifying glass tilted left": "magnifying glass", "ringed planet": "planet with rings",
    "spiral shell": "seashell", "blossom": "yellow flower", "baguette bread": "baguette",
    "meat on bone": "meat on a bone", "hot pepper": "chili pepper", "glass of milk": "glass of milk",
    "fork and knife with plate": "plate with fork and knife", "couch and lamp": "couch",
    "fried shrimp": "fried shrimp", "soccer ball": "soccer ball", "man’s shoe": "brown shoe",
    "high-heeled shoe": "high heel shoe", "woman’s boot": "boot", "woman’s hat": "sun hat",
    "billed cap": "baseball cap", "locked": "padlock", "headphone": "headphones",
    "vertical traffic light": "traffic light", "alien monster": "space invader",
    "globe showing Americas": "globe", "collision": "explosion", "water pistol": "water gun",
    "pool 8 ball": "pool ball", "game die": "dice", "bullseye": "dartboard",
    "framed picture": "framed picture", "red paper lantern": "red lantern", "kiwi fruit": "kiwi",
    "smiling face with halo": "angel face", "smiling face with sunglasses": "smiley with sunglasses",
    "grinning face": "smiley face", "face with tears of joy": "laughing face",
    "cowboy hat face": "cowboy", "ballot": "ballot", "classical building": "greek temple",
    "smiling face with heart-eyes": "face with heart eyes", "herb": "green herb",
    "person getting massage": "massage", "musical keyboard": "piano keyboard", "hut": "hut",
    "beach with umbrella": "beach with umbrella", "rescue": "rescue", "amphora": "vase",
    "tropical drink": "tropical cocktail", "cocktail glass": "martini cocktail", "wood": "wooden log",
    "factory worker": "worker", "telephone": "old telephone", "mantelpiece clock": "clock",
    "fuel pump": "gas pump", "carousel horse": "carousel horse", "man dancing": "man dancing",
    "horse racing": "horse racing", "american football": "american football", "moai": "stone head",
    "video game": "game controller", "crystal ball": "crystal ball", "house with garden": "house with a garden",
    "sun behind cloud": "sun behind a cloud", "cloud with rain": "rain cloud",
    "cloud with snow": "snow cloud", "cloud with lightning": "storm cloud", "high voltage": "lightning bolt",
    "droplet": "water drop", "water wave": "ocean wave", "boar": "wild boar", "broom": "broom",
}  # fmt: skip
"""Emojibase labels that people would not type, and what they would."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "cat": ("kitty", "kitten"), "cat face": ("kitty face",), "dog": ("puppy", "doggy"),
    "dog face": ("puppy face",), "rabbit": ("bunny",), "rabbit face": ("bunny face",),
    "car": ("automobile", "sedan"), "sailboat": ("sailing boat", "yacht"), "fox": ("red fox", "fox face"),
    "bicycle": ("bike",), "motorcycle": ("motorbike",), "airplane": ("plane", "aeroplane"),
    "rocket": ("spaceship", "rocket ship"), "house": ("home", "cottage"), "horse": ("pony",),
    "hamburger": ("burger", "cheeseburger"), "doughnut": ("donut",), "french fries": ("fries", "chips"),
    "sunset": ("sundown",), "ship": ("boat",), "ladybug": ("ladybird",), "lion": ("lion face",),
    "bear": ("bear face", "teddy"), "panda": ("panda bear",), "koala": ("koala bear",),
    "tree": ("oak tree", "leafy tree"), "pine tree": ("fir tree", "conifer"), "gift": ("present", "gift box"),
    "t-rex dinosaur": ("t-rex", "tyrannosaurus", "dinosaur"), "long-necked dinosaur": ("brontosaurus", "dinosaur"),
    "birthday cake": ("cake",), "cup of coffee": ("coffee", "hot drink", "cup of tea"),
    "steam train": ("train", "locomotive"), "ufo": ("flying saucer",), "couch": ("sofa",),
    "television": ("tv",), "mobile phone": ("smartphone", "cell phone"), "truck": ("lorry",),
    "delivery truck": ("truck", "lorry"), "pickup truck": ("pickup",), "taxi": ("cab",),
    "chicken": ("hen",), "baby chick": ("chick",), "mouse": ("little mouse",), "frog": ("toad", "frog face"),
    "snake": ("serpent",), "crocodile": ("alligator",), "turtle": ("tortoise",), "eagle": ("hawk",),
    "pig": ("hog",), "pig face": ("piggy",), "cow": ("cattle",), "donkey": ("mule",), "corn": ("maize",),
    "eggplant": ("aubergine",), "chili pepper": ("hot pepper",), "cookie": ("biscuit",),
    "candy": ("sweet",), "pie": ("slice of pie",), "castle": ("fortress", "palace"),
    "snowman": ("snow man",), "halloween pumpkin": ("pumpkin", "jack-o-lantern"),
    "christmas tree": ("xmas tree",), "snowy mountain": ("mountain peak",), "wizard": ("magician",),
    "chef": ("cook",), "police officer": ("policeman", "cop"), "santa claus": ("father christmas",),
    "boy": ("young boy", "lad"), "girl": ("young girl", "little girl"), "baby": ("infant",),
    "woman": ("lady", "female face"), "man": ("guy", "male face"), "old man": ("grandfather", "grandpa"),
    "old woman": ("grandmother", "grandma"), "firefighter": ("fireman",), "astronaut": ("spaceman", "cosmonaut"),
    "skull": ("skeleton head",), "ghost": ("spook",), "robot": ("android", "robot face"), "backpack": ("rucksack",),
    "glasses": ("spectacles",), "crown": ("royal crown",), "ring": ("diamond ring",), "gem stone": ("gem", "diamond", "jewel"),
    "key": ("house key",), "padlock": ("lock",), "light bulb": ("lightbulb", "lamp bulb"), "book": ("closed book",),
    "red heart": ("heart", "love heart"), "soccer ball": ("football",), "trophy": ("cup trophy",),
    "guitar": ("electric guitar",), "violin": ("fiddle",), "laptop": ("notebook computer",), "camera": ("photo camera",),
    "desktop computer": ("computer", "monitor"), "umbrella": ("parasol",), "sun": ("sunshine",),
    "crescent moon": ("moon",), "star": ("yellow star",), "fire": ("flame", "bonfire"), "rose": ("red rose",),
    "seedling": ("sprout",), "mushroom": ("toadstool",), "office building": ("skyscraper",), "church": ("chapel",),
    "tent": ("camping tent",), "smiley face": ("happy face", "grinning face", "smiley"), "angry face": ("mad face",),
    "crying face": ("sad face",), "monkey": ("ape",), "hippopotamus": ("hippo",), "rhinoceros": ("rhino",),
    "tropical fish": ("colorful fish",), "bee": ("honeybee", "bumblebee"), "whale": ("big whale",),
    "necktie": ("tie",), "t-shirt": ("shirt",), "jeans": ("trousers", "pants"), "running shoe": ("sneaker",),
    "open book": ("opened book",), "envelope": ("letter",), "package": ("parcel", "cardboard box"), "tangerine": ("orange fruit", "mandarin"),
    "apple": ("apple fruit",), "wine glass": ("glass of wine",), "beer mug": ("beer", "pint of beer"), "bread": ("loaf of bread",),
    "ice cream cone": ("ice cream",), "speedboat": ("motorboat",), "cruise ship": ("ocean liner",), "alien": ("extraterrestrial",),
}  # fmt: skip
"""Other words for a concept, used in some of its captions."""

MASS: frozenset[str] = frozenset({"popcorn", "spaghetti", "sushi", "bacon", "corn", "garlic", "french fries", "broccoli", "fire", "jeans", "glasses", "sunglasses", "headphones", "bread", "cheese", "scissors", "cherries", "grapes", "blueberries", "peanuts", "pancakes", "socks", "gloves", "shorts", "skis", "books", "maracas", "sparkles", "confetti", "fireworks", "chopsticks", "soap", "toolbox"})  # fmt: skip
"""Names that take no article."""


FIRST: tuple[str, ...] = tuple(
    label.strip()
    for label in ["smiley face", " ghost", " alien", " robot", " red heart", " girl", " man", " woman", " astronaut", " santa claus", "\n    dog face", " dog", " fox", " cat face", " cat", " lion", " horse", " unicorn", " pig", " elephant", " rabbit face", "\n    rabbit", " bear", " panda", " bird", " penguin", " owl", " frog", " turtle", " whale", " fish", " butterfly", " bee", " rose", "\n    sunflower", " pine tree", " tree", " palm tree", " cactus", " mushroom", " watermelon", " banana", " apple", "\n    green apple", " strawberry", " hamburger", " pizza", " ice cream cone", " doughnut", " birthday cake", "\n    cup of coffee", " house", " castle", " steam train", " bus", " taxi", " car", " bicycle", " sailboat", " airplane", "\n    rocket", " crescent moon", " sun", " star", " cloud", " rainbow", " umbrella", " snowman", " fire", " balloon", " gift", "\n    soccer ball", " crown", " guitar", " light bulb"]
)  # fmt: skip
"""What people ask for most: a small model learns these before all others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Concept:
    """One thing the model knows."""

    name: str
    """Lower case, singular, without article."""
    words: tuple[str, ...]
    """Other names of the same thing."""
    kind: str
    """Emojibase subgroup, e.g. `animal-mammal`."""
    hexcode: str
    """Unicode code points joined by `-`, lower case."""


def choose(entries: list[dict], subgroup_names: dict[str, str]) -> tuple[Concept, ...]:
    """Pick the concepts out of emojibase's `data.json`, in its order, each name once."""
    chosen: dict[str, Concept] = {}
    for entry in entries:
        label = entry["label"]
        kind = subgroup_names.get(str(entry.get("subgroup")), "")
        taken = (kind in SUBGROUPS and label not in LEFT_OUT) or label in EXTRA
        name = NAMES.get(label, label).lower().replace("’", "'")
        if taken and name not in chosen:
            chosen[name] = Concept(
                name=name, words=SYNONYMS.get(name, ()), kind=kind, hexcode=entry["hexcode"].lower()
            )
    return tuple(chosen.values())
