"""Starts a server, lets streams ask it at the same time, and prints what they saw as one JSON object.

    serving.py --server lorikeet --program .build/release/lorikeet --model models/cache/smollm2-nf4 --streams 8
    serving.py --server llama --program llama-server --model SmolLM2.IQ4_NL.gguf --base models/cache/smollm2-nf4 --adapters mixed

Adapters: none; one, of rank 16 or the mean of the mixed ranks, for all streams; mixed, another for each stream.
"""

import argparse
import asyncio
import json
import pathlib
import statistics
import subprocess
import time

import serving_adapters

RANKS = (4, 8, 16, 64, 32, 4, 16, 8)  # of the mixed adapters
MEAN_RANK = sum(RANKS) // len(RANKS)
TOPICS = (
    "the tides", "bread", "glaciers", "the printing press", "honey bees", "steel bridges", "volcanoes", "chess",
    "rice", "lighthouses", "the moon", "coral reefs", "paper", "owls", "canals", "clocks",
)  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=("lorikeet", "llama"), required=True)
    parser.add_argument("--program", required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="an NF4 folder, or a GGUF file")
    parser.add_argument("--base", type=pathlib.Path, help="a folder with config.json; default: the model")
    parser.add_argument("--adapters", choices=("none", "one", "mixed"), default="none")
    parser.add_argument("--rank", type=int, default=16, help="of the one adapter; 0 for the mixed ones' mean")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("Benchmarks/cache"))
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--requests", type=int, default=2, help="of each stream, one after the other")
    parser.add_argument("--tokens", type=int, default=128, help="of an answer")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


class Adapters:
    """The adapters of a run: their names, folders and files, and which one a stream asks for."""

    def __init__(self, options: argparse.Namespace):
        one = options.rank or MEAN_RANK
        ranks = {"none": (), "one": (one,), "mixed": RANKS}[options.adapters]
        self.paths = []
        for index, rank in enumerate(ranks):
            folder = options.work / "adapters" / f"random-{index}-rank-{rank}"
            file = folder.with_suffix(".gguf")
            serving_adapters.write(options.base or options.model, rank, 100 + index, folder, file)
            self.paths.append((folder.name, folder, file))

    def of_stream(self, stream: int) -> int | None:
        return stream % len(self.paths) if self.paths else None


def command(options: argparse.Namespace, adapters: Adapters) -> list[str]:
    common = ["--model", str(options.model), "--threads", str(options.threads)]
    if options.server == "lorikeet":
        loaded = [word for name, folder, _ in adapters.paths for word in ("--adapter", f"{name}={folder}")]
        return [options.program, "serve", *common, *loaded, "--port", "0", "--json"]
    loaded = [word for *_, file in adapters.paths for word in ("--lora", str(file))]
    if loaded:
        loaded.append("--lora-init-without-apply")
    # A slot for each stream, with room for a prompt and an answer.
    slots = ["--parallel", str(options.streams), "--ctx-size", str(1024 * options.streams)]
    return [options.program, *common, *loaded, *slots, "--port", str(LLAMA_PORT), "--host", "127.0.0.1"]


LLAMA_PORT = 18087


def launch(words: list[str]) -> tuple[subprocess.Popen, int]:
    """Our server, and its port."""
    server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    line = server.stdout.readline()
    if not line:
        raise SystemExit(f"{words[0]} does not start")
    return server, json.loads(line)["port"]


def start(options: argparse.Namespace, adapters: Adapters) -> tuple[subprocess.Popen, int]:
    """The server, and its port, once it answers."""
    words = command(options, adapters)
    if options.server == "lorikeet":
        server, port = launch(words)
    else:
        server, port = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), LLAMA_PORT
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if asyncio.run(status(port)) == 200:
                return server, port
        except OSError:
            pass
        time.sleep(0.1)
    server.kill()
    raise SystemExit(f"{options.program} does not answer")


async def status(port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


def body(options: argparse.Namespace, adapters: Adapters, stream: int, number: int, tokens: int) -> bytes:
    topic = TOPICS[(stream + number * options.streams) % len(TOPICS)]
    request = {
        "messages": [
            {"role": "system", "content": f"You are reader {stream} of a class, and answer at length."},
            {"role": "user", "content": f"Write an essay about {topic}, its history and its future. Part {number}."},
        ],
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    chosen = adapters.of_stream(stream)
    if chosen is not None:
        if options.server == "lorikeet":
            request["model"] = adapters.paths[chosen][0]
        else:
            request["lora"] = [
                {"id": i, "scale": 1.0 if i == chosen else 0.0} for i in range(len(adapters.paths))
            ]
    return json.dumps(request).encode()


async def ask(port: int, content: bytes) -> tuple[float, int]:
    """Seconds to the first text, and the tokens of the answer."""
    begin = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + content)
    code = (await reader.readline()).split()[1]
    first, tokens = None, 0
    async for line in reader:
        if code != b"200":
            print(line)
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        if "error" in chunk:
            raise SystemExit(f"the server says {chunk}")
        if first is None and any(choice["delta"].get("content") for choice in chunk["choices"]):
            first = time.monotonic() - begin
        if chunk.get("usage"):
            tokens = chunk["usage"]["completion_tokens"]
    writer.close()
    if code != b"200" or first is None or not tokens:
        raise SystemExit(f"status {code.decode()}, {tokens} tokens")
    return first, tokens


async def run(port: int, options: argparse.Namespace, adapters: Adapters) -> dict[str, float]:
    # The first request of each adapter warms what is made once.
    for stream in range(max(1, len(adapters.paths))):
        await ask(port, body(options, adapters, stream, 99, 4))

    async def client(stream: int) -> list[tuple[float, int]]:
        return [
            await ask(port, body(options, adapters, stream, number, options.tokens))
            for number in range(options.requests)
        ]

    begin = time.monotonic()
    answers = [one for ones in await asyncio.gather(*map(client, range(options.streams))) for one in ones]
    seconds = time.monotonic() - begin
    first = sorted(one for one, _ in answers)
    return {
        "tokens_per_second": sum(tokens for _, tokens in answers) / seconds,
        "time_to_first_token_p50": statistics.median(first),
        "time_to_first_token_max": first[-1],
        "requests": len(answers),
    }


def main() -> None:
    options = arguments()
    adapters = Adapters(options)
    server, port = start(options, adapters)
    try:
        print(json.dumps(asyncio.run(run(port, options, adapters))))
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
