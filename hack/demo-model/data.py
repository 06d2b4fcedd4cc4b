"""Pictures and captions: which emoji are taught, and what they are called.

The pictures are the Fluent 3D emoji (256x256 RGBA WebP, one file a code point sequence). The names come
from unicode-emoji-json, the keywords from emojilib. `fetch.sh` unpacks the three packages into one folder.
"""

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

GROUPS = (
    "Smileys & Emotion",
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Activities",
    "Objects",
)

# Families of pictures that differ in a detail nobody would ask for by name: clocks, phases, people.
FAMILIES = re.compile(
    r"o[’']clock|-thirty|waxing|waning|quarter moon|new moon face|globe showing (Europe|Asia)"
    r"|person|people|man’s|woman’s|women’s|men’s|\bkiss\b|couple|-piece"
)

# Names left out one by one, because the picture is too like another one or is hardly ever asked for.
# The fewer there are, the oftener each is seen in the training time two cores have.
LEFT_OUT = re.compile(
    "|".join(
        rf"\b(?:{names})\b"
        for names in (
            "with smiling eyes|with tear|squinting face with tongue|winking face with tongue|grinning face with sweat",
            "expressionless|dotted line|smirking|unamused|grimacing|relieved|sleepy face|woozy|slightly frowning",
            "astonished|fearful|anxious|confounded|persevering|downcast|weary|tired|frowning face with open|worried",
            "open eyes and hand|exhaling|lying|raised eyebrow|crossed-out eyes|pleading|savoring|face with open mouth",
            "crying cat|cat with|hear-no-evil|speak-no-evil|ogre|goblin|alien monster|skull and crossbones",
            "(?:revolving|growing|beating) hearts?|heart (?:decoration|exclamation|with|suit)|two hearts|mending heart",
            "anger symbol|ZZZ|hole|dashing|dizzy|speech bubble|hundred points|collision|sweat droplets|thought balloon",
            "guide dog|service dog|ox|water buffalo|two-hump|front-facing|bison|boar|rat|dodo|wing|goose|nest|beetle",
            "cricket|cockroach|mosquito|fly|worm|microbe|empty nest|rosette|sheaf|hyacinth|leafy|ginger|pea pod|chestnut",
            "flatbread|falafel|tamale|shallow pan|canned|beverage box|mate|ice|jar|amphora|custard|rice cracker|root",
            "without handle|pouring|tumbler|curry|steaming bowl|cut of meat|salt|oden|moon cake|fish cake|sweet potato",
            "map|building|derelict|garden|houses|hotel|store|post office|bank|brick|rock|wood|hut|stadium|foggy|dusk",
            "oncoming|trolleybus|minibus|light rail|tram car|railway car|mountain railway|metro|suspension|cableway|monorail",
            "departure|arrival|small airplane|motorway|railway track|oil drum|fuel pump|bus stop|wheel|articulated|rickshaw",
            "not done|timer|mantelpiece|new moon|small cloud|large cloud|behind rain|with lightning|wind face|cyclone",
            "tanabata|pine decoration|Japanese dolls|carp streamer|moon viewing|reminder|admission|[123][a-z]+ place",
            "softball|cricket game|hockey|lacrosse|rugby|flag in|martial|running shirt|curling|flying disc|goal net",
            "suit|pawn|joker|mahjong|flower playing|performing|nesting|knot|spool|sari|briefs|bikini|hair pick|shorts",
            "speaker|with slash|slider|knobs|with arrow|receiver|pager|fax|low battery|trackball|plug|film|videocassette",
            "tilted right|decorative|notebook|ledger|bookmark|label|yen|euro|pound|receipt|e-mail|outbox|inbox|mailbox",
            "postbox|ballot|file|index|clipboard|memo|page|tear-off|chart|round pushpin|linked|triangular|wastebasket",
            "with pen|with key|pick|clamp|white cane|chains?|link|hook|alembic|petri|x-ray|crutch|elevator|window|plunger",
            "upside-down|melting|money-mouth|peeking|shushing|saluting|zipper-mouth|in clouds|shaking|drooling|sneezing",
            "spiral eyes|disguised|hushed|holding back|yawning|from nose|symbols on mouth|hand over mouth|open hands",
            "orangutan|moose|ram|chipmunk|badger|paw prints|pig nose|black bird|sauropod|spouting|seal|blowfish|oyster",
            "bug|wilted|white flower|herb|fluttering|melon|olive|garlic|peanuts|beans|bagel|poultry|burrito|fondue",
            "bowl with spoon|butter|cooked rice|dango|dumpling|takeout|shortcake|sake|clinking|camping|national park",
            "church|mosque|temple|synagogue|shrine|kaaba|Japanese castle|wedding|hot springs|barber|locomotive|station",
            "high-speed|sport utility|delivery|wheelchair|vertical traffic|construction|passenger ship|ferry|motor boat",
            "tramway|bellhop|hourglass|moon face|sun with face|milky way|rain drops|on ground|sparkler|military|sports medal",
            "badminton|diving|slot machine|thread|sewing|lab coat|coat|folding hand|clutch|handbag|thong|flat shoe|ballet",
            "billed|rescue|postal horn|musical score|studio|long drum|computer (?:disk|mouse)|optical|DVD|clapper|lantern",
            "diya|rolled-up|incoming|nib|fountain pen|spiral notepad|old key|nut and bolt|roll of paper|sponge|moai",
            "mouse trap|razor|lotion|cigarette|coffin|headstone|funeral|placard|identification|nazar|hamsa|prayer",
        )
    )
)

# Two pictures nearer than this (root mean square over 32x32 RGB, 0..1) count as one; the first is kept.
NEAR_DUPLICATE = 0.08


@dataclass
class Item:
    """One training picture: its code points, its name, and every caption it may be shown with."""

    code: str
    name: str
    captions: list


def clean(name):
    """Lowercases a name and brings its punctuation to what people type."""
    name = name.lower().replace("’", "'").replace("“", "").replace("”", "").replace("!", "")
    return re.sub(r"\s+", " ", name).strip()


def article(name):
    """Puts the indefinite article before a name that can take one."""
    if name.startswith(("the ", "a ")) or name.split()[-1] in PLURALS:
        return name
    return ("an " if name[0] in "aeiou" else "a ") + name


PLURALS = {
    "grapes", "cherries", "blueberries", "peanuts", "beans", "fireworks", "sparkles", "glasses",
    "sunglasses", "goggles", "jeans", "gloves", "socks", "shorts", "briefs", "scissors", "headphones",
    "bubbles", "hearts", "houses", "tickets", "chopsticks", "ribs", "fries",
}


def captions(name, keywords):
    """The ways one picture may be asked for; the plain ones stand several times, to be drawn more often."""
    with_article = article(name)
    plain = [name, name, with_article, with_article, with_article]
    dressed = [f"{with_article} emoji", f"a picture of {with_article}", f"{name} emoji"]
    return plain + dressed + [f"{name}, {word}" for word in keywords[:4]]


def picture_path(root, emoji):
    """The file of an emoji. Some files carry the variation selector fe0f in their name, others do not."""
    points = [f"{ord(c):04x}" for c in emoji]
    for candidate in ("-".join(points), "-".join(p for p in points if p != "fe0f")):
        path = root / "lobehub-fluent-emoji-3d/package/assets" / f"{candidate}.webp"
        if path.exists():
            return path
    return None


def load_picture(path, size):
    """Reads one picture, composites it on white, and returns uint8 of shape (size, size, 3)."""
    rgba = Image.open(path).convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    flat = Image.alpha_composite(white, rgba).convert("RGB")
    return np.asarray(flat.resize((size, size), Image.LANCZOS), dtype=np.uint8)


def thumbnails_are_near(thumbnail, kept):
    """Whether a 32x32 thumbnail is nearer than NEAR_DUPLICATE to any of those already kept."""
    if not kept:
        return False
    delta = np.stack(kept) - thumbnail
    return bool(np.sqrt((delta**2).mean(axis=(1, 2, 3))).min() < NEAR_DUPLICATE)


def select(root):
    """Chooses the items by rule: group, then name, then distance to those already chosen."""
    root = Path(root)
    names = json.loads((root / "unicode-emoji-json/package/data-by-emoji.json").read_text())
    words = json.loads((root / "emojilib/package/dist/emoji-en-US.json").read_text())
    items, paths, kept = [], [], []
    for emoji, entry in names.items():
        if entry["group"] not in GROUPS or FAMILIES.search(entry["name"]) or LEFT_OUT.search(entry["name"]):
            continue
        path = picture_path(root, emoji)
        if path is None:
            continue
        thumbnail = load_picture(path, 32).astype(np.float32) / 255
        if thumbnails_are_near(thumbnail, kept):
            continue
        kept.append(thumbnail)
        name = clean(entry["name"])
        keywords = [k.replace("_", " ") for k in words.get(emoji, []) if clean(k.replace("_", " ")) != name]
        items.append(Item(path.stem, name, captions(name, [clean(k) for k in keywords])))
        paths.append(path)
    return items, paths


def load(root, size):
    """Returns the items and their pictures, uint8 of shape (count, size, size, 3)."""
    items, paths = select(root)
    return items, np.stack([load_picture(path, size) for path in paths])


def draw_caption(item, rng: random.Random, drop=0.1):
    """Draws one caption; now and then the empty one, which is what guidance subtracts."""
    return "" if rng.random() < drop else rng.choice(item.captions)
