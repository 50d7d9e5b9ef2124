"""The fastest that PyTorch multiplies bf16 matrices here: a ceiling for training; prints one JSON object."""

import argparse
import json
import time

import torch

SIDE = 2048


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, required=True)
    torch.set_num_threads(parser.parse_args().threads)
    left, right = (torch.randn(SIDE, SIDE, dtype=torch.bfloat16) for _ in range(2))
    samples = []
    for _ in range(20):
        start = time.perf_counter()
        left @ right
        samples.append(time.perf_counter() - start)
    # The best, not the median: a ceiling is what the machine can do.
    print(json.dumps({"flops_per_second": 2 * SIDE**3 / min(samples)}))


if __name__ == "__main__":
    main()
