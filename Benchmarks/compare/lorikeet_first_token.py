"""From the start of `lorikeet generate` to its first character; prints one JSON object.

The median of several processes: the page cache is warm after the first.
"""

import argparse
import json
import statistics
import subprocess
import time

QUESTION = "What is the capital of Poland?"


def seconds_to_first_token(lorikeet: str, model: str, threads: int) -> float:
    words = [lorikeet, "generate", "--model", model, "--chat", QUESTION, "--max-tokens", "2"]
    words += ["--threads", str(threads)]
    start = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.read(1)
        seconds = time.perf_counter() - start
        process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: exit code {process.returncode}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lorikeet", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    samples = [
        seconds_to_first_token(options.lorikeet, options.model, options.threads) for _ in range(8)
    ]
    print(json.dumps({"start_to_first_token": statistics.median(samples[1:])}))


if __name__ == "__main__":
    main()
