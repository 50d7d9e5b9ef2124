"""`lorikeet quantize` of a folder that is not in the page cache; prints one JSON object.

The disk is probed in the same run: one of the folder's files is read from start to end, uncached, by dd's pattern.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import time

PIECE = 8 << 20  # bytes a read of the probe


def forget(path: pathlib.Path) -> None:
    """Drops the file's clean pages from the page cache."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_bytes_per_second(path: pathlib.Path) -> float:
    start, buffer = time.perf_counter(), bytearray(PIECE)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return path.stat().st_size / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lorikeet", required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    files = sorted(options.source.glob("*.safetensors"))
    os.sync()
    for file in files:
        forget(file)
    disk = read_bytes_per_second(files[0])
    forget(files[0])
    with tempfile.TemporaryDirectory(dir=options.source.parent) as folder:
        words = [options.lorikeet, "quantize", str(options.source), "--output", f"{folder}/nf4"]
        words += ["--threads", str(options.threads), "--json"]
        result = json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)
    size = sum(file.stat().st_size for file in files)
    result["weights_per_second"] = result["parameters"] / result["seconds"]
    result["bytes_per_second"] = size / result["seconds"]
    result["disk_bytes_per_second"] = disk
    result["share_of_disk"] = result["bytes_per_second"] / disk
    print(json.dumps(result))


if __name__ == "__main__":
    main()
