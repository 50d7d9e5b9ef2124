"""Writes a checkpoint of a known model's shape with random weights, for tests of speed and memory.

    python shapes.py --shape llama-2-7b --output DIR            a Hugging Face folder in bf16
    python shapes.py --shape llama-2-7b --gguf FILE.gguf        the same shape for llama.cpp, in Q4_0

Both may be asked for at once. What is written is streamed: memory stays below 1 GB at any shape.
The two hold different random numbers; only their shapes agree.
"""

import argparse
import pathlib

from model_shape import SHAPES, Shape


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", required=True, choices=SHAPES)
    parser.add_argument("--output", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--gguf", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args()
    if not options.output and not options.gguf:
        parser.error("say what to write: --output DIR, --gguf FILE or both")
    shape = SHAPES[options.shape]
    if options.gguf and not isinstance(shape, Shape):
        parser.error(f"--gguf: llama.cpp has no {options.shape}")
    if options.output:
        from shape_folder import write_folder

        write_folder(shape, options.output)
    if options.gguf:
        from shape_gguf import write_gguf

        write_gguf(shape, options.gguf)


if __name__ == "__main__":
    main()
