"""Requantizes a GGUF file with llama.cpp's own quantizer.

    python gguf_variants.py SOURCE.gguf FOLDER      FOLDER/STEM.Q4_0.gguf, …IQ4_NL.gguf, …F16.gguf

The default model comes as Q4_1, so its Q4_0 is a quantization of a quantization: as fast
as one of the original, less exact.
"""

import argparse
import pathlib

import llama_cpp

TYPES = {
    "F16": llama_cpp.LLAMA_FTYPE_MOSTLY_F16,
    "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
    "IQ4_NL": llama_cpp.LLAMA_FTYPE_MOSTLY_IQ4_NL,
}


def requantize(source: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes the files that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = source.name.split(".")[0]
    for name, file_type in TYPES.items():
        output = folder / f"{stem}.{name}.gguf"
        if output.exists():
            continue
        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype = file_type
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
    options = parser.parse_args()
    requantize(options.source, options.folder)


if __name__ == "__main__":
    main()
