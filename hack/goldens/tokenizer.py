"""Writes what transformers' CLIPTokenizer makes of generated strings, for the Go tokenizer to be compared with.

test/testdata/goldens/tokenizer/<model>.json holds a list of [text, ids], the ids as the text encoder takes them but
without the padding. The strings mix words of the vocabulary, contractions, special tokens in upper and lower case,
white space of all kinds, combining marks, and letters, digits and signs from all of Unicode.

    python tokenizer.py                        1,200 strings for each model
    python tokenizer.py --count 50000 --out F  more, elsewhere
"""

import argparse
import json
import random
import unicodedata
from pathlib import Path

from transformers import CLIPTokenizer

TESTDATA = Path(__file__).parents[2] / "test/testdata"

PIECES = [
    "a red apple", "The CAT's", "don't", "we'll", "I'VE", "'s", "''s", "'", "it's!'s", "blurry, ", "green-apple", "1234", "4k",
    "<|startoftext|>", "<|endoftext|>", "<|ENDOFTEXT|>", "<|endoftext", "|>", "(a:1.2)", "...", "!?", "\u00e9", "e\u0301", "\u212b",
    "\u0130stanbul", "\u1e9e", "\u03a3\u03c3\u03c2", "\ufb01", "\u2167", "\u00bd", "\u0660\u0661", "\u4e2d\u6587", "\u0e44\u0e17\u0e22",
    "\u0928\u092e\u0938\u094d\u0924\u0947", "\ud55c\uae00", "\u1112\u1161\u11ab", "\U0001f600", "\U0001f469\u200d\U0001f680", "\u200b",
    "\ufeff", "\u00a0", "\u3000", "\u2028", "\u0085", "\x1c", "\x00", "\t\n", "  ", "\u180e", "\ufffd", "\U0001d400", "\u0345",
]  # fmt: skip


def any_character(rng):
    """A character from a random block of Unicode; unassigned ones are left out, as Unicode versions differ there."""
    while True:
        character = chr(rng.randrange(rng.choice([0x80, 0x250, 0x3000, 0x10000, 0x20000])))
        if unicodedata.category(character) not in ("Cs", "Cn"):
            return character


def generate(rng, words):
    """One string."""
    parts = []
    for _ in range(rng.randrange(1, 9)):
        kind = rng.randrange(4)
        if kind == 0:
            parts.append(rng.choice(PIECES))
        elif kind == 1:
            word = rng.choice(words)
            parts.append(word.upper() if rng.random() < 0.2 else word)
        elif kind == 2:
            parts.append("".join(any_character(rng) for _ in range(rng.randrange(1, 6))))
        else:
            parts.append("".join(rng.choice("abcdefghijklmnopqrstuvwxyz'-., 0123456789") for _ in range(rng.randrange(1, 12))))
        parts.append(rng.choice(["", " ", " ", ", "]))
    return "".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["tiny", "fluent-emoji"])
    parser.add_argument("--count", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=TESTDATA / "goldens/tokenizer")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.models:
        tokenizer = CLIPTokenizer.from_pretrained(TESTDATA / "models" / name / "tokenizer")
        words = sorted(word.removesuffix("</w>") for word in tokenizer.get_vocab() if word.isascii())
        rng = random.Random(arguments.seed)
        texts = ["", " ", *PIECES] + [generate(rng, words) for _ in range(arguments.count - len(PIECES) - 2)]
        rows = [[text, tokenizer(text, truncation=True, max_length=tokenizer.model_max_length).input_ids] for text in texts]
        lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
        (arguments.out / f"{name}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
