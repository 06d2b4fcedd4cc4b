"""Writes what transformers' CLIPTokenizer makes of generated strings, for the Go tokenizer to be compared with.

test/testdata/goldens/tokenizer/texts.json.gz holds a list of strings, and <model>.json.gz the ids of each, as the text
encoder takes them but without the padding. The strings mix words of the vocabulary, contractions, special tokens in
upper and lower case, white space of all kinds, control characters, joined emoji, combining marks, bytes that are no
UTF-8 (replaced as Python replaces them), and any other characters of Unicode, assigned or not. Some are very long.

characters.json.gz holds what the tokenizer's library takes for letters, numbers and white space, as ranges, and the
characters that its normalizer changes.

    python tokenizer.py                        12,000 strings for each model
    python tokenizer.py --count 50000 --out F  more, elsewhere
"""

import argparse
import gzip
import json
import random
import sys
from pathlib import Path

from tokenizers import Regex, normalizers
from transformers import CLIPTokenizer

TESTDATA = Path(__file__).parents[2] / "test/testdata"

PIECES = [
    "a red apple", "The CAT's", "don't", "we'll", "I'VE", "'s", "''s", "'", "it's!'s", "blurry, ", "green-apple", "1234", "4k",
    "<|startoftext|>", "<|endoftext|>", "<|ENDOFTEXT|>", "<|endoftext", "|>", "(a:1.2)", "...", "!?", "\u00e9", "e\u0301", "\u212b",
    "\u0130stanbul", "\u1e9e", "\u03a3\u03c3\u03c2", "\ufb01", "\u2167", "\u00bd", "\u0660\u0661", "\u4e2d\u6587", "\u0e44\u0e17\u0e22",
    "\u0928\u092e\u0938\u094d\u0924\u0947", "\ud55c\uae00", "\u1112\u1161\u11ab", "\U0001f600", "\U0001f469\u200d\U0001f680", "\u200b",
    "\ufeff", "\u00a0", "\u3000", "\u2028", "\u0085", "\x1c", "\x00", "\t\n", "  ", "\u180e", "\ufffd", "\U0001d400", "\u0345",
]  # fmt: skip


EMOJI = [chr(c) for c in (*range(0x1F300, 0x1F650), *range(0x2600, 0x2700), *range(0x1FA70, 0x1FB00))]
JOINERS = ["\u200d", "\ufe0f", "\u200d\u2640\ufe0f", "\U0001f3fb", "\U0001f3ff", "\u20e3"]
MARKS = [chr(c) for c in (*range(0x300, 0x370), *range(0x591, 0x5C8), *range(0x64B, 0x660), *range(0x1AB0, 0x1AD0), *range(0x1DC0, 0x1E00))]
SPACES = [chr(c) for c in (*range(0x20), 0x7F, 0x85, 0xA0, 0x1680, *range(0x2000, 0x2010), 0x2028, 0x2029, 0x202F, 0x205F, 0x2060, 0x3000)]


def any_character(rng):
    """A character from a random part of Unicode, which may be one that no version has assigned yet."""
    while True:
        character = chr(rng.randrange(rng.choice([0x80, 0x250, 0x3000, 0x10000, 0x20000, sys.maxunicode + 1])))
        if not "\ud800" <= character <= "\udfff":
            return character


def several(rng, characters, most):
    """Up to so many characters of a list."""
    return "".join(rng.choice(characters) for _ in range(rng.randrange(1, most + 1)))


def piece(rng, words):
    """One part of a string."""
    kind = rng.randrange(12)
    if kind < 3:
        return rng.choice(PIECES)
    if kind < 6:
        word = rng.choice(words)
        return word.upper() if rng.random() < 0.2 else word
    if kind < 7:
        return several(rng, "abcdefghijklmnopqrstuvwxyz'-., 0123456789", 11)
    if kind < 9:
        return "".join(any_character(rng) for _ in range(rng.randrange(1, 6)))
    if kind < 10:
        return rng.choice(EMOJI) + "".join(rng.choice(JOINERS) + rng.choice(EMOJI) for _ in range(rng.randrange(3)))
    if kind < 11:
        return any_character(rng) + several(rng, MARKS, 4)
    return rng.choice([several(rng, SPACES, 3), rng.randbytes(3).decode("utf-8", errors="replace")])


def generate(rng, words):
    """One string."""
    text = "".join(piece(rng, words) + rng.choice(["", " ", " ", ", "]) for _ in range(rng.randrange(1, 8)))
    return text * rng.randrange(500, 2000) if rng.random() < 0.002 else text


def write(path, value):
    """Writes compressed JSON, of the same bytes each time."""
    path.write_bytes(gzip.compress(json.dumps(value, separators=(",", ":")).encode(), 9, mtime=0))


def ranges(pattern):
    """The first and last of each run of characters that the library's regular expressions match."""
    erase = normalizers.Replace(Regex(pattern), "")
    runs = []
    for code in (*range(0xD800), *range(0xE000, sys.maxunicode + 1)):
        if erase.normalize_str(chr(code)) != "":
            continue
        if runs and runs[-1][1] == code - 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return runs


def characters(tokenizer):
    """What the library knows of each character."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    changed = {}
    for code in (*range(0xD800), *range(0xE000, sys.maxunicode + 1)):
        normal = normalizer.normalize_str(chr(code))
        if normal != chr(code):
            changed[chr(code)] = normal
    return {"letters": ranges(r"\p{L}"), "numbers": ranges(r"\p{N}"), "spaces": ranges(r"\s"), "changed": changed}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["tiny", "fluent-emoji"])
    parser.add_argument("--count", type=int, default=12000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=TESTDATA / "goldens/tokenizer")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    tokenizers = {name: CLIPTokenizer.from_pretrained(TESTDATA / "models" / name / "tokenizer") for name in arguments.models}
    words = sorted({word.removesuffix("</w>") for t in tokenizers.values() for word in t.get_vocab() if word.isascii()})
    rng = random.Random(arguments.seed)
    texts = ["", " ", *PIECES, "e" + "\u0301\u0323" * 40]
    texts += [generate(rng, words) for _ in range(arguments.count - len(texts))]
    write(arguments.out / "texts.json.gz", texts)
    for name, tokenizer in tokenizers.items():
        write(arguments.out / f"{name}.json.gz", tokenizer(texts, truncation=True, max_length=tokenizer.model_max_length).input_ids)
    write(arguments.out / "characters.json.gz", characters(tokenizer))


if __name__ == "__main__":
    main()
