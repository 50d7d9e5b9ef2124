"""Records in deberta_digests.json what the sentencepiece package (0.2.3) makes of whole texts with DeBERTaV3's model.

    python record_deberta.py deberta-v3-spm.model TEXT.txt|TEXT.txt.gz ...

Model and texts are too large for the repository: of the ids of a text, taken whole and line by line, only
the number and the 64-bit FNV-1a hash of their little-endian 32-bit words are kept.
"""

import gzip
import json
import pathlib
import sys

import numpy
import sentencepiece


def digest(ids):
    value = 0xCBF29CE484222325
    for byte in numpy.array(ids, "<i4").tobytes():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return {"count": len(ids), "hash": f"{value:016x}"}


processor = sentencepiece.SentencePieceProcessor(model_file=sys.argv[1])
rows = {}
for path in map(pathlib.Path, sys.argv[2:]):
    data = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
    text = data.decode()
    rows[path.name] = {
        "whole": digest(processor.encode(text)),
        "lines": digest([id for line in text.split("\n") for id in processor.encode(line)]),
    }
with open(pathlib.Path(__file__).parent / "deberta_digests.json", "w") as file:
    json.dump(rows, file, indent=1)
    file.write("\n")
