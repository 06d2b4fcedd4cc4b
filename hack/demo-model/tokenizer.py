"""A byte pair vocabulary of our own in the format of CLIP's tokenizer: vocab.json and merges.txt.

Ids: 256 bytes, the same 256 bytes at the end of a word (`</w>`), one id a merge, then the two special tokens.
"""

import collections
import json
from pathlib import Path

import regex

START, END = "<|startoftext|>", "<|endoftext|>"
POSITIONS = 77
WORD = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+")


def byte_symbols():
    """The printable stand-in of every byte, in CLIP's order: printable bytes first, the others above U+00FF."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def split(text):
    """A text as words, each a tuple of byte symbols of which the last one carries the end of the word."""
    symbols = byte_symbols()
    for word in WORD.findall(text.lower()):
        parts = [symbols[b] for b in word.encode()]
        yield tuple(parts[:-1] + [parts[-1] + "</w>"])


def join(word, pair):
    """The word with every occurrence of the pair made one symbol."""
    result, i = [], 0
    while i < len(word):
        if word[i : i + 2] == pair:
            result.append(word[i] + word[i + 1])
            i += 2
        else:
            result.append(word[i])
            i += 1
    return tuple(result)


def learn(texts, size):
    """Learns merges, the commonest pair first and ties by the alphabet, until the vocabulary has `size` entries."""
    words = collections.Counter(word for text in texts for word in split(text))
    merges = []
    while len(merges) < size - 514:
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = collections.Counter({join(word, best): count for word, count in words.items()})
    return merges


def save(folder, merges):
    """Writes the four files that transformers' CLIPTokenizer reads."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    symbols = list(byte_symbols().values())
    tokens = symbols + [s + "</w>" for s in symbols] + [a + b for a, b in merges] + [START, END]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens):
        raise ValueError("two merges make the same token")
    _write(folder / "vocab.json", vocabulary)
    lines = ["#version: 0.2"] + [f"{a} {b}" for a, b in merges]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    specials = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    _write(folder / "special_tokens_map.json", specials)
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": POSITIONS,
            "do_lower_case": True,
            "add_prefix_space": False,
            "errors": "replace",
            **specials,
        },
    )
    return vocabulary


def _write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def load(folder):
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder)


def encode(tokenizer, texts):
    """Texts -> int64 (n, 77): start, tokens, end, and the end token again as padding."""
    return tokenizer(
        texts, padding="max_length", max_length=POSITIONS, truncation=True, return_tensors="pt"
    ).input_ids
