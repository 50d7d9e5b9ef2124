"""What the checks of the server share: a server of the default model, and clients of it."""

import argparse
import contextlib
import json
import pathlib
import subprocess

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lorikeet", required=True)
    parser.add_argument("--model", required=True, help="a folder that lorikeet quantize wrote")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    return parser.parse_args()


@contextlib.contextmanager
def serve(options, *words):
    """Runs `lorikeet serve` on a free port; gives the ready line, and ends the server by SIGTERM."""
    command = [options.lorikeet, "serve", "--model", options.model, "--port", "0", "--json", "--log-level", "warning"]
    process = subprocess.Popen([*command, *map(str, words)], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line, "the server did not start"
        ready = json.loads(line)
        ready["process"] = process
        yield ready
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0, f"the server ended with {process.returncode}"


def adapter(options, name, seed=0):
    """A PEFT folder with random factors, which change every answer."""
    folder = options.work / "served" / name
    if not folder.exists():
        rows = options.work / "rows.jsonl"
        rows.parent.mkdir(parents=True, exist_ok=True)
        rows.write_text("".join(json.dumps({"text": f"Arr, {i} ducats, matey! " * 4}) + "\n" for i in range(8)))
        subprocess.run(
            [options.lorikeet, "train", "--model", options.model, "--data", str(rows), "--output", str(folder), "--force",
             "--method", "lora", "--rank", "4", "--steps", "4", "--batch-size", "2", "--learning-rate", "2e-2",
             "--seed", str(seed)],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
    return folder
