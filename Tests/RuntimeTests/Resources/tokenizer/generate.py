"""Makes the small tokenizers and the recorded cases of this folder with the `tokenizers` package.

    python generate.py genesis.txt wiki.txt

The two files are what the tokenizers are trained on: a public-domain English text and nothing that a
case depends on otherwise. Recorded with tokenizers 0.23.3.
"""

import json
import random
import sys

from recorded_cases import cases
from tokenizers import (
    AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers,
)

TEXTS = ["", " ", "  ", "\n", "\r\n", "\r", "\t\ttab", "Hello, world!", " leading", "trailing ", "a  b   c    d",
    "naïve café résumé", "e\u0301 combining a\u0300\u0323", "日本語のテキスト。漢字", "한국어 텍스트", "العربية ١٢٣", "हिन्दी",
    "🙂👩\u200d👩\u200d👧\u200d👦🏳️\u200d🌈", "👍🏽 🇫🇷🇩🇪 1️⃣", "x=1;y=2 # c\n\tif x: return", "1234567890", "3.14 1e-10 ½ Ⅷ ² ٣",
    "don't can't I'll DON'T I'LL 'ſ 'K", "a\u00a0b\u00a0\u00a0c \u2003x\u3000y", "zero\u200bwidth\u200d\u200c\u2060\ufeffx",
    "line1\r\nline2\n\n\nline3\r\r x \n y", " \n \n  \t\n   end", "\u0085next\u2028line\u2029para", "a" * 120, "ab " * 40,
    " " * 70 + "x", "\n" * 50, "\x00\x01\x7f", "\ufffd\ufffe\uffff", "𝒜𝓁𝓅 𐍈 𠮷", "ﬁ ﬆ Ǆ ǅ ß İ ı Σ ς",
    "<|im_start|>user\nhi<|im_end|>", "<s>a</s>b<s> c </s>  d", "x <tool>  y<tool>z", "a<mask> <mask>b <mask> c", "▁▁ a▁b ▁", "Ġ Ċ",
    "a.b,c;d:e!f?g(h)i[j]k{l}m/n\\o|p`q~r@s#t$u%v^w&x*y-z_=+", "_under __dunder__", "Привет, мир! Й", "ไทย", "\u0301start",
    "ά ά", "In the beginning God created the heaven and the earth.", "And the evening and the morning were the first day.",
    "and unto them, saying, Thus shall ye speak unto my lord Esau", "the" * 60]
PIECES = [" ", "  ", "\n", "\r\n", "\t", "a", "the", "The", " of", "ing", "'s", "'LL", "1", "23", "é", "e\u0301", "中", "ا", "🙂", "\u200d",
    "\u00a0", "!", "...", "-", "_", "(", "<|im_end|>", "<s>", "</s>", "<tool>", "<mask>", "▁", "ß", "½", "\ufeff", "\x00"]
rng = random.Random(7)
TEXTS += ["".join(rng.choice(PIECES) for _ in range(rng.randint(1, 20))) for _ in range(100)]

GPT4 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
PATTERNS = [GPT4,
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"\w+", r"\W+", r"\d", r"\D+", r"\bt", r"\Bh", r"^.", r".$", r"\A.|.\z", r"(?:a|ab)(?:c|bcd)?b", r"(a|b)+?c|[0-9-]{2,}",
    r"\p{^L}+", r"\P{Lu}+", r"(?>\s+)x|th(?=e)", r"(?i:THE|é|sk|k)", r"[\x{41}-\x5A\u0061]+", r"\p{N}{1,2}+", r"[a-c]{2,3}?", r" {2,}", r"x*",
    r"(?i:[^a-z])+", r"\s*[\r\n]", r"[一-龥぀-ゟ]+", r"(?:the){2,3}", r"a{,2}b?"]


def train(pre, size, special, files, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if isinstance(pre, pre_tokenizers.ByteLevel) else list("éeάά\u0301▁"))
    tokenizer.train(files, trainer)
    return tokenizer


def mixed(tokenizer):
    """Ids in no order, which cut characters, with their text."""
    rows = []
    count = tokenizer.get_vocab_size()
    for index in range(80):
        ids = [rng.randrange(count if index % 2 else 262) for _ in range(rng.randint(1, 10))]
        rows.append({"ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False), "read": tokenizer.decode(ids)})
    return rows


def decoded(tokenizer, rows):
    """The texts of those ids on which the package does not panic: `Strip` does when nothing is left."""
    texts = []
    for row in rows:
        try:
            texts.append([row, tokenizer.decode(row)])
        except BaseException:
            pass
    return texts


def write(name, value):
    with open(name, "w") as file:
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


def save(name, tokenizer):
    write(f"{name}.tokenizer.json", json.loads(tokenizer.to_str()))
    write(f"{name}.cases.json", {"texts": cases(tokenizer, TEXTS), "tokens": mixed(tokenizer)})


files = sys.argv[1:]

byte_level = train(pre_tokenizers.ByteLevel(add_prefix_space=False), 1200, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], files)
byte_level.decoder = decoders.ByteLevel()
byte_level.add_tokens([AddedToken("<tool>", lstrip=True, rstrip=True, normalized=False), AddedToken("<mask>", single_word=True)])
save("byte_level", byte_level)

byte_level.pre_tokenizer = pre_tokenizers.Sequence([
    pre_tokenizers.Split(Regex(GPT4), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
byte_level.model.ignore_merges = True
byte_level.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
    single="<|im_start|> $A <|im_end|>", pair="$A $B", special_tokens=[("<|im_start|>", 1), ("<|im_end|>", 2)])])
llama3 = json.loads(byte_level.to_str())
for key in ("vocab", "merges"):
    del llama3["model"][key]
write("llama3.json", {"tokenizer": llama3, "texts": cases(byte_level, TEXTS), "tokens": mixed(byte_level)})

special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
metaspace = train(pre_tokenizers.Metaspace(prepend_scheme="first", split=True), 1000, special, files, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
document = json.loads(metaspace.to_str())
document["added_tokens"] = document["added_tokens"][:3]
metaspace = Tokenizer.from_str(json.dumps(document))
metaspace.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
metaspace.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
metaspace.post_processor = processors.TemplateProcessing(single="<s> $A", pair="$A $B", special_tokens=[("<s>", 1)])
save("metaspace", metaspace)

# Every component by itself, over characters: vocabulary and merges too small to hide what a stage did.
letters = sorted(set("".join(TEXTS) + "▁ĠĊ") - {"🙂", "\x7f"})
vocab = {token: index for index, token in enumerate(["<unk>", "<a>", "<b>", "th", "the", "▁t", "▁the", *letters, "q</w>", "##e", "x##e"])}
merges = [("t", "h"), ("th", "e"), ("▁", "t"), ("▁t", "h"), ("▁", "the")]
vocab.setdefault("▁th", len(vocab))
COMPONENTS = {
    "nothing": {}, "unknown": {"model": {"unk_token": "<unk>"}}, "fused unknown": {"model": {"unk_token": "<unk>", "fuse_unk": True}},
    "word suffix": {"model": {"unk_token": "<unk>", "end_of_word_suffix": "</w>"}, "pre": pre_tokenizers.WhitespaceSplit()},
    "subword prefix": {"model": {"unk_token": "<unk>", "continuing_subword_prefix": "##"}, "pre": pre_tokenizers.WhitespaceSplit(), "merges": [("x", "##e")], "vocab": {"xe": -1}},
    "NFC": {"norm": normalizers.NFC()}, "NFD": {"norm": normalizers.NFD()}, "NFKC": {"norm": normalizers.NFKC()}, "NFKD": {"norm": normalizers.NFKD()},
    "lowercase": {"norm": normalizers.Lowercase()}, "strip": {"norm": normalizers.Strip()}, "strip left": {"norm": normalizers.Strip(True, False)},
    "strip accents": {"norm": normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])},
    "prepend": {"norm": normalizers.Prepend("▁")}, "replace text": {"norm": normalizers.Replace("the", "x")}, "replace expression": {"norm": normalizers.Replace(Regex(r"\s+"), "_")},
    "metaspace always": {"pre": pre_tokenizers.Metaspace()}, "metaspace first": {"pre": pre_tokenizers.Metaspace(prepend_scheme="first")},
    "metaspace never": {"pre": pre_tokenizers.Metaspace(prepend_scheme="never")},
    "digits": {"pre": pre_tokenizers.Digits()}, "single digits": {"pre": pre_tokenizers.Digits(True)}, "whitespace": {"pre": pre_tokenizers.Whitespace()},
    "whitespace split": {"pre": pre_tokenizers.WhitespaceSplit()}, "byte level": {"pre": pre_tokenizers.ByteLevel(add_prefix_space=True)},
}
for behavior in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
    COMPONENTS[f"punctuation {behavior}"] = {"pre": pre_tokenizers.Punctuation(behavior)}
    COMPONENTS[f"split {behavior}"] = {"pre": pre_tokenizers.Split("t", behavior)}
    COMPONENTS[f"split inverted {behavior}"] = {"pre": pre_tokenizers.Split(Regex("[a-z]+"), behavior, invert=True)}
DECODERS = {
    "byte fallback": decoders.ByteFallback(), "metaspace": decoders.Metaspace(), "metaspace never": decoders.Metaspace(prepend_scheme="never"),
    "replace": decoders.Replace("th", "TH"), "strip": decoders.Strip("t", 1, 1),
    "fused strip": decoders.Sequence([decoders.Fuse(), decoders.Strip("t", 2, 2)]), "byte level": decoders.ByteLevel(),
    "fused replace": decoders.Sequence([decoders.Fuse(), decoders.Replace(Regex("[ht]+"), "-")]),
}
added = [AddedToken("<a>", lstrip=True, normalized=True), AddedToken("<b>", rstrip=True, special=True, single_word=True)]
PROBES = [text for text in TEXTS if len(text) < 40][:60] + ["the The THE théthe", "x<a> the <b> y", "q<b>q <b>", " <a>  <a>", "xe xee exe", "t1the22 th3"]
rows = []
for name, parts in COMPONENTS.items():
    these = [merge for merge in merges if "continuing_subword_prefix" not in parts.get("model", {})] + parts.get("merges", [])
    words = dict(vocab)
    for word in parts.get("vocab", {}):
        words[word] = len(words)
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=these, **parts.get("model", {})))
    if "norm" in parts: tokenizer.normalizer = parts["norm"]
    if "pre" in parts: tokenizer.pre_tokenizer = parts["pre"]
    tokenizer.add_tokens(added[:1])
    tokenizer.add_special_tokens(added[1:])
    document = json.loads(tokenizer.to_str())
    del document["model"]["vocab"]
    document["model"]["added_vocab"] = list(parts.get("vocab", {}))
    rows.append({"name": name, "tokenizer": document, "texts": [[text, tokenizer.encode(text).ids] for text in PROBES]})
decodes = []
for name, decoder in DECODERS.items():
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.decoder = decoder
    ids = [[vocab[token] for token in row] for row in [["▁t", "▁the", "th"], ["t"], ["t", "t", "t", "h", "t", "t", "t"], ["th", "t", "e", "th", "t"], ["▁", "▁", "a"], []]]
    ids += [[rng.randrange(7 + len(letters)) for _ in range(6)] for _ in range(10)]
    decodes.append({"name": name, "decoder": json.loads(tokenizer.to_str())["decoder"], "tokens": decoded(tokenizer, ids)})
write("components.json", {"vocab": vocab, "encoders": rows, "decoders": decodes})

patterns = []
for pattern in PATTERNS:
    splitter = pre_tokenizers.Split(Regex(pattern), "isolated")
    tests = [text for text in TEXTS if text][:: 1 if pattern in PATTERNS[:4] else 3]
    patterns.append({"pattern": pattern, "texts": [[text, [len(piece.encode()) for piece, _ in splitter.pre_tokenize_str(text)]] for text in tests]})
write("patterns.json", patterns)
