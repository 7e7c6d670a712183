#!/usr/bin/env python3
"""Write what Hugging Face's tokenizers say of byte-level BPE into Tests/Fixtures/tokenizer/.

    python3 -m venv /tmp/fixtures && /tmp/fixtures/bin/pip install tokenizers==0.23.3
    /tmp/fixtures/bin/python Tests/Fixtures/make-tokenizer-fixtures.py

corpus.txt is a text in several scripts, trained.json the tokenizer that is learnt from it. Each other NAME.json is a variant
of that one, and NAME.strings.json has strings with their ids: letters, contractions, numbers, odd white space, control
characters, combining marks, emoji, scalars of every kind.

    … make-tokenizer-fixtures.py --strings 10000 --output DIR

writes only strings, so many, and with them the tokenizer that each is for, into DIR: for the test that LOCKSTEP_STRINGS=DIR
turns on.
"""

import argparse
import json
import random
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

OUTPUT = Path(__file__).resolve().parent / "tokenizer"
VOCABULARY = 700

SYLLABLES = "ka lo min ter sha the ing er an ou st re qu ive ab un ly ness in to of and".split()
CHINESE = "起初神创造天地地是空虚混沌渊面黑暗神的灵运行在水面上说要有光就有了看是好的把分开称为昼夜晚早头一日"
POOLS = [
    list("abcdefghijklmnopqrstuvwxyzABCXYZ"),
    list(CHINESE),
    list("はじめに神は天と地とを創造されたカタカナー"),
    list("태초에하나님이천지를창조하시니라"),
    list("ВначалесотворилБогнебоиземлю"),
    list("בְּרֵאשִׁיתבָּרָאאֱלֹהִים"),
    list("فِيالْبَدْءِخَلَقَاللهُ"),
    list("आदिमेंपरमेश्वरनेआकाश"),
    list("ในปฐมกาลพระเจ้าทรงเนรมิตสร้าง"),
    list("éèüñçøåßœæıİſµªº"),
    list("e\u0301a\u0308o\u0302\u0327n\u0303"),
    list("0123456789٣४๕²³½Ⅷ①"),
    list(".,;:!?-–—…'\"()[]{}<>|/\\@#$%^&*_+=~`€£¥§©™°"),
    ["😀", "🎼", "👩‍👩‍👧", "🏳️‍🌈", "🇩🇪", "👍🏽", "❤️", "✨", "\u200d", "\ufe0f"],
    [" ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\v", "\f", "\x85", "\xa0", "\u2003", "\u2028", "\u3000", "\u200b"],
    ["\x00", "\x01", "\x1b", "\x7f", "\x9f", "\u00ad", "\u200e", "\u202e", "\ufeff", "\ufffd", "\ufffe", "\U0010ffff",
     "\ue000", "\U000e0041", "\u0378"],
    ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'RE", "'l", "'", "''", "'r", " 's", "it's", "we'll", "I'd've"],
    ["<|endoftext|>", "<|endoftext", "<mask>", " <mask> ", "<<mask>>", "[keep]", " [keep]\n ", "[keep]x"],
]


def random_string(rng):
    kind = rng.random()
    if kind < 0.15:
        scalars = (rng.choice([0x80, 0x800, 0x3000, 0x10000, 0x20000, 0x110000]) for _ in range(rng.randint(1, 12)))
        text = "".join(chr(rng.randrange(limit)) for limit in scalars)
        return "".join(c for c in text if not 0xD800 <= ord(c) <= 0xDFFF)
    if kind < 0.25:
        # Longer than the words that are looked through for merges.
        pool = rng.choice(POOLS[:10])
        return "".join(rng.choice(pool) for _ in range(rng.randint(40, 160)))
    parts = []
    for _ in range(rng.randint(0, 14)):
        pool = rng.choice(POOLS)
        parts.append("".join(rng.choice(pool) for _ in range(rng.randint(1, 5))))
        if rng.random() < 0.5:
            parts.append(rng.choice([" ", " ", " ", "  ", "\n", " \n", "\t "]))
        if rng.random() < 0.4:
            parts.append("".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 3))))
    return "".join(parts)


def corpus(rng):
    words = ["".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 3))) for _ in range(400)]
    words += ["".join(rng.choice(CHINESE) for _ in range(rng.randint(1, 4))) for _ in range(80)]
    words += ["".join(rng.choice(pool) for _ in range(rng.randint(2, 5))) for pool in POOLS[2:14] for _ in range(12)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    rng.shuffle(words)
    lines = []
    for _ in range(600):
        line = " ".join(rng.choices(words, weights, k=rng.randint(3, 14)))
        lines.append(line + rng.choice([".", "!", ", aaaa", " 1611", "'s", "。", "  ", ""]))
    return "\n".join(lines) + "\n"


def trained(text):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, min_frequency=2, special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    return json.loads(tokenizer.to_str())


def added(id, content, **flags):
    token = dict(id=id, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return token | flags


def variants(base):
    yield "trained", base
    variant = json.loads(json.dumps(base))
    variant["model"]["merges"] = [" ".join(pair) for pair in variant["model"]["merges"]]
    variant["pre_tokenizer"]["add_prefix_space"] = True
    variant["added_tokens"] += [
        added(VOCABULARY, "<mask>", lstrip=True), added(VOCABULARY + 1, "[keep]", rstrip=True, special=False, normalized=True),
        added(VOCABULARY + 2, "<|endoftext|>x")]
    yield "prefixed", variant
    variant = json.loads(json.dumps(base))
    variant["model"]["ignore_merges"] = True
    variant["pre_tokenizer"]["use_regex"] = False
    # Merges cannot make it.
    vocab = variant["model"]["vocab"]
    vocab["kalominter"] = VOCABULARY
    yield "whole", variant


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--strings", type=int, default=250)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    text = corpus(random.Random(1))
    base = trained(text)
    (arguments.output / "corpus.txt").write_text(text, newline="")
    for name, tokenizer_json in variants(base):
        content = json.dumps(tokenizer_json, ensure_ascii=name == "prefixed", separators=(",", ":"))
        (arguments.output / f"{name}.json").write_text(content)
        tokenizer = Tokenizer.from_str(content)
        rng = random.Random(2)
        strings = [random_string(rng) for _ in range(arguments.strings)] + ["kalominter", ""]
        cases = [dict(text=s, ids=tokenizer.encode(s, add_special_tokens=False).ids) for s in strings]
        with open(arguments.output / f"{name}.strings.json", "w") as file:
            json.dump(cases, file, separators=(",", ":"))


if __name__ == "__main__":
    main()
