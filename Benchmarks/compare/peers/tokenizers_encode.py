"""The ids of a text with Hugging Face's tokenizers on one thread; prints one JSON object."""

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import json
import statistics
import sys
import time

from tokenizers import Tokenizer


def main() -> None:
    tokenizer = Tokenizer.from_file(sys.argv[1])
    with open(sys.argv[2], "rb") as file:
        data = file.read()
    text = data.decode()
    samples, count = [], 0
    for _ in range(5):
        start = time.perf_counter()
        count = len(tokenizer.encode(text, add_special_tokens=False).ids)
        samples.append(time.perf_counter() - start)
    print(json.dumps({"text_bytes_per_second": len(data) / statistics.median(samples), "tokens": count}))


if __name__ == "__main__":
    main()
