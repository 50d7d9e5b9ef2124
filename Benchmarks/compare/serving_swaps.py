"""Swaps an adapter under load, and prints what it cost as one JSON object; each answer is checked meanwhile.

    serving_swaps.py --program .build/release/lorikeet --model models/cache/smollm2-nf4 --swaps 10000

Two bundles take turns under one name while streams ask for it and for the base. An answer tells by its fingerprint
which adapter made it, and must be that adapter's own: the one that it gave before the swaps began.

A step is the usual time between two tokens of a stream; the longest is told of the time without swaps and with them.
"""

import argparse
import asyncio
import json
import pathlib
import statistics
import subprocess
import time

import serving
import serving_adapters

QUESTION = {"messages": [{"role": "user", "content": "Tell me about the tides."}], "temperature": 0, "max_tokens": 24, "stream": True}
SECONDS = 10  # without swaps


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("Benchmarks/cache"))
    parser.add_argument("--swaps", type=int, default=10_000)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def bundles(options: argparse.Namespace) -> list[pathlib.Path]:
    found = []
    for index in range(2):
        folder = options.work / "adapters" / f"random-{index}-rank-16"
        serving_adapters.write(options.model, 16, 100 + index, folder, folder.with_suffix(".gguf"))
        bundle = folder.with_suffix(".lorikeet")
        if not bundle.exists():
            subprocess.run([options.program, "bundle", "pack", folder, "--output", bundle], check=True, capture_output=True)
        found.append(bundle.resolve())
    return found


async def post(port: int, path: str, body: dict) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Asks, and reads the head of what must be an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + content)
    response = await reader.readuntil(b"\r\n\r\n")
    if response.split()[1] != b"200":
        raise SystemExit(f"{path}: {(response + await reader.read()).decode()}")
    return reader, writer


async def read_stream(reader: asyncio.StreamReader) -> tuple[str, str, list[float]]:
    """The text of a stream, who made it, and the seconds between its tokens."""
    text, made_by, times = "", "", []
    async for line in reader:
        if not line.startswith(b"data: {"):
            continue
        now = time.monotonic()
        chunk = json.loads(line[6:])
        if "error" in chunk:
            raise SystemExit(f"the server says {chunk}")
        made_by = chunk["system_fingerprint"]
        piece = "".join(choice["delta"].get("content", "") for choice in chunk["choices"])
        text += piece
        if piece:
            times.append(now)
    return text, made_by, [after - before for before, after in zip(times, times[1:])]


def resident(process: subprocess.Popen) -> int:
    """Bytes of memory that the server has."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) * 1024


async def run(port: int, process: subprocess.Popen, options: argparse.Namespace) -> dict[str, float]:
    paths = bundles(options)
    references: dict[str, str] = {}
    loads, memory, gaps = [], [], []
    answers = is_done = 0

    async def load(path: pathlib.Path) -> None:
        begin = time.monotonic()
        body = {"lora_name": "swapped", "lora_path": str(path), "load_inplace": True}
        reader, writer = await post(port, "/v1/load_lora_adapter", body)
        await reader.read()
        writer.close()
        loads.append(time.monotonic() - begin)

    async def ask(model: str | None) -> None:
        nonlocal answers
        reader, writer = await post(port, "/v1/chat/completions", QUESTION | ({"model": model} if model else {}))
        text, made_by, between = await read_stream(reader)
        writer.close()
        gaps.extend(between)
        if references.setdefault(made_by, text) != text:
            raise SystemExit(f"{made_by} said {text!r}, and {references[made_by]!r} before")
        answers += 1

    async def stream(number: int) -> None:
        while not is_done:
            await ask("swapped" if number % 4 else None)

    for path in paths:
        await load(path)
        await ask("swapped")
    await ask(None)
    if len(set(references.values())) != 3:
        raise SystemExit("the adapters do not change the answer")
    streams = [asyncio.create_task(stream(number)) for number in range(options.streams)]
    if streams:
        await asyncio.sleep(SECONDS)
    quiet = sorted(gaps) or [0.0]
    loads.clear()
    gaps.clear()
    for number in range(options.swaps):
        await load(paths[number % 2])
        # What is made once has been made by a tenth of the way.
        if number >= options.swaps // 10:
            memory.append(resident(process))
    is_done = 1
    await asyncio.gather(*streams)
    loads.sort()
    swapping = sorted(gaps) or [0.0]
    tenth = max(1, len(memory) // 10)
    return {
        "swaps": len(loads),
        "answers": answers,
        "swap_p50": statistics.median(loads),
        "swap_p99": loads[len(loads) * 99 // 100],
        "step": statistics.median(quiet),
        "gap_p99_without_swaps": quiet[len(quiet) * 99 // 100],
        "gap_max_without_swaps": quiet[-1],
        "gap_p50": statistics.median(swapping),
        "gap_p99": swapping[len(swapping) * 99 // 100],
        "gap_max": swapping[-1],
        "memory_growth": statistics.mean(memory[-tenth:]) / statistics.mean(memory[:tenth]) - 1,
        "memory_bytes": memory[-1],
    }


def main() -> None:
    options = arguments()
    folder = (options.work / "adapters").resolve()
    command = [options.program, "serve", "--model", str(options.model), "--threads", str(options.threads)]
    command += ["--adapter-root", str(folder), "--port", "0", "--json", "--log-level", "warning"]
    bundles(options)
    server, port = serving.launch(command)
    try:
        print(json.dumps(asyncio.run(run(port, server, options))))
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
