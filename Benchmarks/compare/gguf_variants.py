"""Requantizes a GGUF file with llama.cpp's own quantizer.

    python gguf_variants.py SOURCE.gguf FOLDER [TYPE…]      FOLDER/STEM.Q4_0.gguf, …IQ4_NL.gguf, …F16.gguf

The default model comes as Q4_1, so its Q4_0 is a quantization of a quantization: as fast
as one of the original, less exact.
"""

import argparse
import pathlib
from collections.abc import Iterable

import llama_cpp

TYPES = ("F16", "Q4_0", "IQ4_NL")


def requantize(source: pathlib.Path, folder: pathlib.Path, types: Iterable[str] = TYPES) -> None:
    """Writes the files that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = source.name.split(".")[0]
    for name in types:
        output = folder / f"{stem}.{name}.gguf"
        if output.exists():
            continue
        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{name}")
        parameters.allow_requantize = True
        partial = output.with_suffix(".partial")
        status = llama_cpp.llama_model_quantize(str(source).encode(), str(partial).encode(), parameters)
        if status != 0:
            raise SystemExit(f"{source}: llama.cpp's quantizer failed with {status} on {name}")
        partial.rename(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("types", nargs="*", default=TYPES, metavar="TYPE", help="llama.cpp's names: Q4_K_M, Q8_0, …")
    options = parser.parse_args()
    requantize(options.source, options.folder, options.types)


if __name__ == "__main__":
    main()
