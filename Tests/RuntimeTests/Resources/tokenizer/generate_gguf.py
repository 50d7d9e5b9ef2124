"""Records in gguf.json what transformers 5.23 makes of small GGUF metadata, and in gemma_pieces.gguf.json the metadata
that llama.cpp's converter makes of gemma_pieces.model; run after generate_vocabularies.py."""

import json
import tempfile

from sentencepiece import sentencepiece_model_pb2
from transformers.integrations.gguf.gguf_tokenizer_mapping import convert_gguf_tokenizer
from transformers.tokenization_utils_tokenizers import TokenizersBackend


def record(name, metadata, roles):
    """`metadata` under the names of `tokenizer.ggml.*`; `roles` as transformers hands them on."""
    keys = {"model": "tokenizer_type", "pre": "pre_tokenizer_type", "token_type": "token_type"}
    backend, _ = convert_gguf_tokenizer("llama", {keys.get(key, key): value for key, value in metadata.items()})
    with tempfile.TemporaryDirectory() as folder:
        TokenizersBackend(tokenizer_object=backend, **roles).save_pretrained(folder)
        tokenizer = json.load(open(f"{folder}/tokenizer.json"))
        configuration = json.load(open(f"{folder}/tokenizer_config.json"))
    flags = {key: roles[key] for key in roles if key.startswith("add_")}
    ids = {f"{long}_token_id": metadata["tokens"].index(roles[f"{short}_token"])
           for short, long in [("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")] if roles.get(f"{short}_token")}
    return {"name": name, "metadata": {**metadata, **flags, **ids}, "tokenizer": tokenizer, "configuration": configuration}


words = list(json.load(open("byte_level.tokenizer.json"))["model"]["vocab"])[:420]
merges = [f"{a} {b}" for a, b in json.load(open("byte_level.tokenizer.json"))["model"]["merges"] if a + b in words]
words += ["<think>", "two words"]
types = [3, 3, 3] + [1] * 417 + [4, 1]
roles = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>", "pad_token": "<|im_end|>", "add_bos_token": False}
byte_level = {"model": "gpt2", "tokens": words, "token_type": types, "merges": merges}
pieces = list(json.load(open("metaspace.tokenizer.json"))["model"]["vocab"])[:600]
scores = [0.0] * 259 + [-float(index // 3) for index in range(len(pieces) - 259)]
sentencepiece = {"model": "llama", "tokens": pieces, "scores": scores, "token_type": [2, 3, 3] + [6] * 256 + [1] * (len(pieces) - 259)}
spm = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": None, "add_bos_token": True}
rows = [record(pre, {**byte_level, "pre": pre}, roles) for pre in ["smollm", "llama-bpe", "qwen2", "tekken", "gpt-4o"]]
rows.append(record("both ends", {**byte_level, "pre": "gpt-2"}, {**roles, "add_bos_token": True, "add_eos_token": True}))
rows.append(record("sentencepiece", sentencepiece, spm))
# One vocabulary and one list of merges serve all byte-level rows.
shared = {"tokens": words, "merges": merges, "vocab": rows[0]["tokenizer"]["model"]["vocab"], "pairs": rows[0]["tokenizer"]["model"]["merges"]}
for row in rows[:-1]:
    assert row["metadata"].pop("tokens") == words and row["metadata"].pop("merges") == merges
    assert row["tokenizer"]["model"].pop("vocab") == shared["vocab"] and row["tokenizer"]["model"].pop("merges") == shared["pairs"]
with open("gguf.json", "w") as file:
    json.dump({"shared": shared, "rows": rows}, file, ensure_ascii=False, separators=(",", ":"))
    file.write("\n")

# The converter numbers types as SentencePiece does, spells user-defined tokens with spaces, and gives them a score that is
# none.
with open("gemma_pieces.model", "rb") as file:
    pieces = sentencepiece_model_pb2.ModelProto.FromString(file.read()).pieces
metadata = {
    "model": "llama", "pre": "default", "add_bos_token": True, "add_space_prefix": False, "unknown_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "tokens": [piece.piece.replace("▁", " ") if piece.type == 4 else piece.piece for piece in pieces], "token_type": [piece.type for piece in pieces],
    "scores": [piece.score if piece.type in (1, 6) else -1000.0 for piece in pieces],
}
with open("gemma_pieces.gguf.json", "w") as file:
    json.dump(metadata, file, ensure_ascii=False, separators=(",", ":"))
    file.write("\n")
