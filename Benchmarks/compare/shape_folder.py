"""Writes a shape as a Hugging Face folder: bf16 safetensors in shards, and a byte-level tokenizer."""

import json
import math
import pathlib
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from model_shape import SPECIAL_TOKENS, DebertaShape, Repeated, Shape, normals

POOL_WEIGHTS = 16_777_213  # a prime; 32 MiB in bf16
SHARD_BYTES = 2 << 30

Tensor = tuple[str, tuple[int, ...]]


def write_folder(shape: Shape | DebertaShape, folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", shape.configuration())
    tokens = {"bos_token_id": 1, "eos_token_id": 2}
    write_json(folder / "generation_config.json", {"_from_model_config": True, **tokens})
    write_json(folder / "tokenizer.json", tokenizer(shape.vocabulary, encodes=isinstance(shape, DebertaShape)))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "model_max_length": shape.positions,
        },
    )
    write_weights(shape, folder)


def write_json(path: pathlib.Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def tokenizer(vocabulary: int, encodes: bool) -> dict[str, object]:
    """A token a byte and no merges; the other ids are words that no text is split into. An encoder's text is put
    between the special tokens."""
    words = SPECIAL_TOKENS + byte_spellings()
    words += [f"w{number}" for number in range(len(words), vocabulary)]
    special = [
        {
            "id": number,
            "content": content,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for number, content in enumerate(SPECIAL_TOKENS)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": between_special_tokens() if encodes else None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {word: number for number, word in enumerate(words)},
            "merges": [],
        },
    }


def between_special_tokens() -> dict[str, object]:
    begin, end = ({"SpecialToken": {"id": token, "type_id": 0}} for token in SPECIAL_TOKENS[1:])
    first, second = ({"Sequence": {"id": text, "type_id": 0}} for text in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [begin, first, end],
        "pair": [begin, first, end, second, end],
        "special_tokens": {
            token: {"id": token, "ids": [number], "tokens": [token]}
            for number, token in enumerate(SPECIAL_TOKENS[1:], start=1)
        },
    }


def byte_spellings() -> list[str]:
    """The character that stands for each byte in a byte-level vocabulary: itself where Latin-1 prints it,
    else the next one from U+0100."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def write_weights(shape: Shape | DebertaShape, folder: pathlib.Path) -> None:
    pool = Repeated(bfloat16(normals(POOL_WEIGHTS)))
    shards = list(shard(shape.tensors()))
    names: dict[str, str] = {}
    for number, tensors in enumerate(shards, start=1):
        file_name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        with open(folder / file_name, "wb") as file:
            write_shard(file, tensors, pool)
        names |= {name: file_name for name, _ in tensors}
        print(f"{folder / file_name}: {len(tensors)} tensors", flush=True)
    total = sum(size(tensor) for tensors in shards for tensor in tensors)
    index = {"metadata": {"total_size": total}, "weight_map": names}
    write_json(folder / "model.safetensors.index.json", index)


def size(tensor: Tensor) -> int:
    """Bytes in bf16."""
    return 2 * math.prod(tensor[1])


def shard(tensors: Iterator[Tensor]) -> Iterator[list[Tensor]]:
    """Splits the tensors, in their order, into runs of at most SHARD_BYTES."""
    current: list[Tensor] = []
    for tensor in tensors:
        if current and sum(map(size, current)) + size(tensor) > SHARD_BYTES:
            yield current
            current = []
        current.append(tensor)
    yield current


def write_shard(file: BinaryIO, tensors: list[Tensor], pool: Repeated) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in tensors:
        name, dimensions = tensor
        end = offset + size(tensor)
        header[name] = {"dtype": "BF16", "shape": dimensions, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8 bytes
    file.write(struct.pack("<Q", len(text)) + text)
    for name, dimensions in tensors:
        if len(dimensions) == 1:
            value = 0 if name.endswith("bias") else 1
            file.write(bfloat16(np.full(dimensions, value, dtype=np.float32)).data)
        else:
            for piece in pool.pieces(math.prod(dimensions)):
                file.write(piece.data)


def bfloat16(values: np.ndarray) -> np.ndarray:
    """The upper halves of fp32 numbers, rounded to nearest, as uint16."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
