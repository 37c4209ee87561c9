"""A CLIP tokenizer for captions of street scenes: a few hundred tokens instead of 49,408.

Byte-pair encoding in CLIP's own form (lower case, `</w>` at the end of a word), learned on the words that
captions use, until each of them is one token. A word that no caption holds, such as DreamBooth's rare word
`sks`, is spelled in pieces of one or two letters.
"""

import collections
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from transformers import CLIPTokenizer

_WORDS = (
    "a photo of urban scene with and ,"
    " traffic light lights sign signs person persons rider riders car cars"
    " truck trucks train trains bus buses motorcycle motorcycles bicycle bicycles"
    " faded foggy hazy night dusk overcast sunny day dark bright"
    " street road sidewalk building wall fence pole vegetation tree terrain sky"
)
WORDS = tuple(_WORDS.split())
"""Words of the captions of `datum.streetscenes.drawing`, of DATUM's prompts, and of what else a street
holds."""

CONTEXT = 32
"""Tokens of a caption, start and end included; longer ones are cut."""

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
CHARACTERS = tuple(chr(code) for code in range(ord("!"), ord("~") + 1) if not chr(code).isupper())
"""Printable ASCII in lower case; any other character becomes the unknown token."""


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs to merge, in order, until every word of `words` is one token (Sennrich et al. 2016).

    The most frequent pair goes first, and of equally frequent ones the alphabetically first, so that the
    result depends on the set of words alone.
    """
    spellings = [[*word[:-1], word[-1] + WORD_END] for word in sorted(set(words))]
    merges = []
    while any(len(spelling) > 1 for spelling in spellings):
        counts = collections.Counter(pair for spelling in spellings for pair in zip(spelling, spelling[1:]))
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(pair)
        spellings = [_merged(spelling, pair) for spelling in spellings]
    return merges


def write_tokenizer(folder: Path, words: Iterable[str] = WORDS) -> CLIPTokenizer:
    """Writes `vocab.json`, `merges.txt` and the settings into `folder`, and returns the tokenizer."""
    merges = learn_merges(words)
    tokens = [*CHARACTERS, *(character + WORD_END for character in CHARACTERS)]
    tokens += ["".join(pair) for pair in merges]
    tokens += [START, END]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": CONTEXT,
        "do_lower_case": True,
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder)


def _merged(spelling: Sequence[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for symbol in spelling:
        # A symbol just merged never continues another pair: it is a token of its own from here on.
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged
