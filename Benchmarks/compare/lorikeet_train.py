"""`lorikeet train` on rows of one exact length; prints one JSON object.

The figures are medians over the steps after the first, as on the peers' side. RefLoRA refactors from step 2 on,
and `plain_step_seconds` is what a step would take without.
"""

import argparse
import json
import pathlib
import random
import statistics
import subprocess
import tempfile


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lorikeet", required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--method", default="lora")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--gradient-checkpointing", action="store_true")
    return parser.parse_args()


def write_rows(path: pathlib.Path, model: pathlib.Path, count: int, length: int) -> None:
    vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]
    draw = random.Random(0)
    with open(path, "w", encoding="ascii") as file:
        for _ in range(count):
            ids = [draw.randrange(3, vocabulary) for _ in range(length)]
            file.write(json.dumps({"input_ids": ids}) + "\n")


def flops_per_token(model: pathlib.Path, recomputes: bool) -> int:
    """Of the frozen matrices alone: forward and the gradient of their input, forward once more if recomputing."""
    configuration = json.loads((model / "config.json").read_text())
    width, layers = configuration["hidden_size"], configuration["num_hidden_layers"]
    heads = configuration["num_key_value_heads"] / configuration["num_attention_heads"]
    attention = 2 * width * width * (1 + heads)
    feed_forward = 3 * width * configuration["intermediate_size"]
    weights = layers * (attention + feed_forward) + configuration["vocab_size"] * width
    return int(2 * weights * (3 if recomputes else 2))


def command(options: argparse.Namespace, data: pathlib.Path, output: pathlib.Path) -> list[str]:
    words = [options.lorikeet, "train", "--model", options.model, "--data", data, "--output", output]
    words += ["--method", options.method, "--rank", options.rank, "--steps", 1 + options.steps]
    words += ["--batch-size", options.batch_size, "--max-length", options.length]
    words += ["--threads", options.threads, "--json"]
    if options.method.startswith("reflora"):
        words += ["--reflora-warmup", 1]
    if options.gradient_checkpointing:
        words += ["--gradient-checkpointing"]
    return [str(word) for word in words]


def measured(words: list[str], output: pathlib.Path) -> tuple[dict[str, object], list[dict[str, float]]]:
    """What a run printed, with the seconds of its steps, and what it wrote of each; without the first step."""
    run = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    result = json.loads(run.stdout)
    lines = (output / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines][1:]
    result["step_seconds"] = [step["tokens"] / step["tokens_per_second"] for step in steps]
    result["median_step_seconds"] = statistics.median(result["step_seconds"])
    return result, steps


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        data, output = pathlib.Path(folder, "rows.jsonl"), pathlib.Path(folder, "adapter")
        write_rows(data, options.model, (1 + options.steps) * options.batch_size, options.length)
        result, steps = measured(command(options, data, output), output)
    median = result["median_step_seconds"]
    refactoring = [step.get("refactoring_seconds", 0) for step in steps]
    ratios = [seconds / (seconds - own) for seconds, own in zip(result["step_seconds"], refactoring)]
    result["plain_step_seconds"] = median / statistics.median(ratios)
    result["tokens_per_second"] = options.batch_size * options.length / median
    operations = flops_per_token(options.model, options.gradient_checkpointing)
    result["flops_per_second"] = result["tokens_per_second"] * operations
    print(json.dumps(result))


if __name__ == "__main__":
    main()
