"""Requantizes a GGUF file with llama.cpp's own quantizer: SOURCE TYPE OUTPUT."""

import pathlib
import sys

import llama_cpp

source, kind, output = sys.argv[1:]
parameters = llama_cpp.llama_model_quantize_default_params()
parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
parameters.allow_requantize = True
partial = pathlib.Path(output).with_suffix(".partial")
status = llama_cpp.llama_model_quantize(source.encode(), str(partial).encode(), parameters)
if status != 0:
    raise SystemExit(f"{source}: llama.cpp's quantizer failed with {status} on {kind}")
partial.rename(output)
