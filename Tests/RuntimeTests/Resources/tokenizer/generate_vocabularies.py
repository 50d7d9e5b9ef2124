"""Makes small vocabularies of the kinds that are no tokenizer.json and records what their own packages do.

    python generate_vocabularies.py genesis.txt

Run after generate.py, whose texts are used. Recorded with sentencepiece 0.2.3, tiktoken 0.14.0 and
tokenizers 0.23.3; the text is what the vocabularies are learnt from.
"""

import base64
import io
import json
import pathlib
import sys

import sentencepiece
import tiktoken
from recorded_cases import cases
from sentencepiece import sentencepiece_model_pb2
from tiktoken._educational import bpe_train
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [row["text"] for row in json.load(open("byte_level.cases.json"))["texts"]]
TEXTS += ["  two  spaces ", "ﬁne ﬂour", "ＡＢＣ　ｄ", "Ａ\u0301", "a\u200bb", "\u200b", " \u200b a", "one<sep>two <sep> three", "a <sep><sep>b  ", "<sep>",
          "<keep  me>x", "〆 unknown 鱻鱻 x 鱻", "▁", " ▁▁x", "x  ▁", "e\u0301é ffi ﬃ", "tab\there\nand\r\nthere", "[CLS] hi [SEP]", "it 's do n't", "Ünïcödé ÀÉ straße"]
corpus = sys.argv[1]
sentences = [line for line in open(corpus) if line.strip()]
# Every word once more with marks, so that the rules have something to act on.
RULES = {"ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "\t": " ", "\n": " ", "\r": " ", "\u3000": " ", "\u00a0": " ", "\u200b": "", "e\u0301": "é", "Ａ\u0301": "Á",
         "½": "1/2", "…": "...", "``": "\"", "＿": " _ ", **{chr(0xFF21 + i): chr(65 + i) for i in range(26)}, **{chr(0xFF41 + i): chr(97 + i) for i in range(26)}}


def write(name, value):
    with open(name, "w") as file:
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


def piece_model(name, **options):
    """Trains a model, and records ids and texts."""
    stream = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=stream, minloglevel=2, num_threads=1, hard_vocab_limit=False, **options)
    proto = sentencepiece_model_pb2.ModelProto.FromString(stream.getvalue())
    proto.trainer_spec.ClearField("input")
    proto.normalizer_spec.ClearField("normalization_rule_tsv")
    data = proto.SerializeToString()
    open(f"{name}.model", "wb").write(data)
    processor = sentencepiece.SentencePieceProcessor(model_proto=data)
    # Control pieces are special here and plain text there: such texts are left out.
    texts = [text for text in TEXTS if not any(mark in text for mark in ["<s>", "</s>", "<unk>", "<pad>", "[CLS]", "[SEP]"])]
    rows = [{"text": text, "ids": processor.encode(text)} for text in texts]
    for row in rows:
        known = processor.unk_id() not in row["ids"]
        row["decoded"] = processor.decode(row["ids"]) if known else None
    write(f"{name}.cases.json", {"texts": rows})
    return proto


rules = pathlib.Path("/tmp/rules.tsv")
rules.write_text("".join("\t".join(" ".join(f"{ord(c):X}" for c in text) for text in pair) + "\n" for pair in RULES.items()))
piece_model("llama_pieces", vocab_size=700, model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
            character_coverage=0.999, user_defined_symbols=["<sep>"])
piece_model("gemma_pieces", vocab_size=700, model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
            add_dummy_prefix=False, user_defined_symbols=["▁▁", "▁▁▁", "\n", "\n\n", "<sep>"])
unigram = piece_model("unigram_pieces", vocab_size=500, model_type="unigram", normalization_rule_tsv=str(rules), user_defined_symbols=["<sep>", "<keep  me>"],
                      bos_id=-1, pad_id=0, eos_id=1, unk_id=2)
piece_model("bert_pieces", vocab_size=500, model_type="unigram", byte_fallback=True, normalization_rule_name="identity", pad_id=0, bos_id=1, eos_id=2, unk_id=3,
            pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]", unk_piece="[UNK]")
piece_model("characters", vocab_size=90, model_type="char", normalization_rule_name="identity", character_coverage=0.99)


# The same unigrams as tokenizer.json, with every part that T5's, DeBERTa's and ALBERT's files have.
scored = [(piece.piece, piece.score) for piece in unigram.pieces]
charsmap = base64.b64encode(unigram.normalizer_spec.precompiled_charsmap).decode()
UNIGRAMS = {
    "T5": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap},
           "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}]}},
    "DeBERTa": {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "Precompiled", "precompiled_charsmap": charsmap},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}},
    "Llama": {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}, "pre_tokenizer": None},
    "ALBERT": {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Replace", "pattern": {"String": "``"}, "content": "\""}, {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, {"type": "Nmt"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "CharDelimiterSplit", "delimiter": "-"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}]}},
}
rows = []
for name, parts in UNIGRAMS.items():
    tokenizer = Tokenizer(models.Unigram(scored, 2, False))
    document = json.loads(tokenizer.to_str())
    document.update(parts)
    document["decoder"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    document["post_processor"] = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                                  "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                                  "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}}
    document["added_tokens"] = [{"id": id, "content": scored[id][0], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for id in range(3)]
    tokenizer = Tokenizer.from_str(json.dumps(document))
    del document["model"]["vocab"]
    # A mark that is stripped at the start moves the text away from it, for the package's `first`.
    texts = [text for text in TEXTS if not text.startswith("\u0301")]
    rows.append({"name": name, "tokenizer": document, "texts": cases(tokenizer, texts)})
write("unigram.json", {"vocab": scored, "rows": rows})

# WordPiece, as tokenizer.json and as BERT's vocab.txt.
bert = Tokenizer(models.WordPiece(unk_token="[UNK]"))
bert.normalizer = normalizers.BertNormalizer()
bert.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
bert.train_from_iterator(sentences, trainers.WordPieceTrainer(
    vocab_size=500, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False, initial_alphabet=list("中文éß!?")))
words = sorted(bert.get_vocab(), key=bert.get_vocab().get)
open("bert_vocab.txt", "w").write("".join(word + "\n" for word in words))
rows = []
for name, options in {"uncased": {}, "cased": {"lowercase": False}, "accents": {"strip_accents": False}, "plain": {"clean_text": False, "handle_chinese_chars": False, "strip_accents": True, "lowercase": False}}.items():
    tokenizer = Tokenizer(models.WordPiece(vocab=bert.get_vocab(), unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = decoders.WordPiece(cleanup=name != "plain")
    tokenizer.add_special_tokens(words[:5])
    document = json.loads(tokenizer.to_str())
    document["model"]["vocab"] = None
    rows.append({"name": name, "tokenizer": document, "texts": cases(tokenizer, TEXTS)})
write("wordpiece.json", {"rows": rows})

# tiktoken's ranks with Llama 3's expression.
GPT4 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
ranks = bpe_train(data="".join(sentences), vocab_size=500, pat_str=GPT4, visualise=None)
open("ranks.tiktoken", "w").write("".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items()))
encoding = tiktoken.Encoding("small", pat_str=GPT4, mergeable_ranks=ranks, special_tokens={"<|begin_of_text|>": len(ranks)})
rows = [{"text": text, "ids": encoding.encode(text, disallowed_special=()), "decoded": text} for text in TEXTS]
write("ranks.cases.json", {"texts": rows})
