"""Writes the vocabularies that tokenizers are compared on: each as published, and as a tokenizer.json for the peer.

    Benchmarks/compare/run vocabularies FOLDER TEXT

FOLDER holds llama.cpp's `ggml-vocab-gpt-2.gguf` and `ggml-vocab-bert-bge.gguf`, `llama2-tokenizer.model`,
`llama3-tokenizer.model` and `deberta-v3-spm.model`; the first million bytes of TEXT (.gz or not) are what is encoded.
"""

import argparse
import base64
import gzip
import pathlib
import shutil

import gguf
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

KINDS = ("gpt-2", "llama-2", "llama-3", "bert", "deberta-v3")

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def strings(path: pathlib.Path, key: str) -> list[str]:
    field = gguf.GGUFReader(path).fields[f"tokenizer.ggml.{key}"]
    return [bytes(field.parts[index]).decode() for index in field.data]


def gpt2(path: pathlib.Path) -> Tokenizer:
    vocabulary = {token: index for index, token in enumerate(strings(path, "tokens"))}
    merges = [tuple(merge.split(" ")) for merge in strings(path, "merges")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def splits(token: str | bytes, vocabulary: dict) -> list[tuple]:
    """The ways to cut a token into two, in the order in which transformers writes merges."""
    cuts = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
    found = [cut for cut in cuts if cut[0] in vocabulary and cut[1] in vocabulary]
    return sorted(found, key=lambda cut: (vocabulary[cut[0]], vocabulary[cut[1]]))


def pieces(path: pathlib.Path) -> sentencepiece_model_pb2.ModelProto:
    return sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())


def llama2(path: pathlib.Path) -> Tokenizer:
    model = pieces(path)
    vocabulary = {piece.piece: index for index, piece in enumerate(model.pieces)}
    merges = [(model.pieces[index].score, cut) for token, index in vocabulary.items() for cut in splits(token, vocabulary)]
    merges.sort(key=lambda merge: (-merge[0], -len(merge[1][0]), -len(merge[1][1])))
    tokenizer = Tokenizer(
        models.BPE(vocabulary, [cut for _, cut in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


def llama3(path: pathlib.Path) -> Tokenizer:
    lines = (line.split() for line in path.read_text().splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + index) for index, byte in enumerate(others)}

    def spelled(token: bytes) -> str:
        return "".join(characters[byte] for byte in token)

    merges = [(rank, cut) for token, rank in ranks.items() for cut in splits(token, ranks)]
    merges.sort(key=lambda merge: merge[0])
    vocabulary = {spelled(token): rank for token, rank in ranks.items()}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, [(spelled(left), spelled(right)) for _, (left, right) in merges], ignore_merges=True)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    return tokenizer


def bert(path: pathlib.Path) -> Tokenizer:
    def word(token: str) -> str:
        if token.startswith("[") and token.endswith("]") and len(token) > 2:
            return token
        return token[1:] if token.startswith("▁") else "##" + token

    vocabulary = {word(token): index for index, token in enumerate(strings(path, "tokens"))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def deberta(path: pathlib.Path) -> Tokenizer:
    model = pieces(path)
    unknown = next(index for index, piece in enumerate(model.pieces) if piece.type == 2)
    tokenizer = Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in model.pieces], unknown, False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Strip(), normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


SOURCES = {
    "gpt-2": ("ggml-vocab-gpt-2.gguf", gpt2),
    "llama-2": ("llama2-tokenizer.model", llama2),
    "llama-3": ("llama3-tokenizer.model", llama3),
    "bert": ("ggml-vocab-bert-bge.gguf", bert),
    "deberta-v3": ("deberta-v3-spm.model", deberta),
}


def ours(folder: pathlib.Path, kind: str) -> pathlib.Path:
    """What Lorikeet reads: a GGUF file, or a folder with the vocabulary."""
    return folder / (f"{kind}.gguf" if SOURCES[kind][0].endswith(".gguf") else kind)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for kind, (name, convert) in SOURCES.items():
        target = ours(options.output, kind)
        if target.suffix != ".gguf":
            target.mkdir(exist_ok=True)
            target /= "tokenizer.model"
        shutil.copy(options.source / name, target)
        convert(options.source / name).save(str(options.output / f"{kind}.tokenizer.json"))
    opened = gzip.open if options.text.suffix == ".gz" else open
    with opened(options.text, "rb") as file:
        text = file.read(1_000_000)
    (options.output / "text.txt").write_bytes(text.decode(errors="ignore").encode())


if __name__ == "__main__":
    main()
