"""bitsandbytes' NF4 quantization of a 4096 × 4096 fp32 tensor, and back; prints one JSON object."""

import argparse
import json
import statistics
import time

import bitsandbytes.functional
import torch

SIDE = 4096


def weights_per_second(work, repeats: int = 5) -> float:
    work()
    samples = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        samples.append(time.perf_counter() - start)
    return SIDE * SIDE / statistics.median(samples)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, required=True)
    torch.set_num_threads(parser.parse_args().threads)
    weights = torch.randn(SIDE, SIDE)
    functional = bitsandbytes.functional
    packed, state = functional.quantize_4bit(weights, blocksize=64, quant_type="nf4")
    result = {
        "quantize_weights_per_second": weights_per_second(
            lambda: functional.quantize_4bit(weights, blocksize=64, quant_type="nf4")
        ),
        "dequantize_weights_per_second": weights_per_second(
            lambda: functional.dequantize_4bit(packed, state)
        ),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
