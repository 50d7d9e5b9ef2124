"""`lorikeet train --task classification` on texts of one exact length; prints one JSON object.

The figures are medians over the steps after the first, as on the peers' side.
"""

import argparse
import json
import pathlib
import random
import string
import tempfile

from lorikeet_train import measured


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lorikeet", required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4)
    return parser.parse_args()


def write_rows(path: pathlib.Path, count: int, length: int) -> None:
    """A letter is a token; two special ones are put around a text."""
    draw = random.Random(0)
    texts = ("".join(draw.choices(string.ascii_lowercase, k=length - 2)) for _ in range(count))
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{index % 2}\n" for index, text in enumerate(texts)))


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        data, output = pathlib.Path(folder, "rows.tsv"), pathlib.Path(folder, "adapter")
        write_rows(data, (1 + options.steps) * options.batch_size, options.length)
        words = [options.lorikeet, "train", "--model", options.model, "--data", data, "--output", output]
        words += ["--task", "classification", "--text-columns", "text", "--label-column", "label"]
        words += ["--rank", options.rank, "--steps", 1 + options.steps, "--batch-size", options.batch_size]
        words += ["--max-length", options.length, "--threads", options.threads, "--json"]
        result, _ = measured([str(word) for word in words], output)
    result["tokens_per_second"] = options.batch_size * options.length / result["median_step_seconds"]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
