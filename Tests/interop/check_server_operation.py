"""`lorikeet serve` in operation: curl, TLS, adapters at run time, overload, SIGTERM."""

import concurrent.futures
import json
import signal
import socket
import subprocess
import time

from serving import QUESTION, adapter, arguments, serve

options = arguments()
options.work.mkdir(parents=True, exist_ok=True)


def curl(*words, expect=200):
    result = subprocess.run(
        ["curl", "-sS", "-w", "\n%{http_code}", *map(str, words)], capture_output=True, text=True, check=True
    )
    body, status = result.stdout.rsplit("\n", 1)
    assert int(status) == expect, result.stdout
    return body


def post(url, body, *words, expect=200):
    return json.loads(curl("-H", "Content-Type: application/json", "-d", json.dumps(body), *words, url, expect=expect))


def routes(url):
    assert json.loads(curl(url + "/health")) == {"status": "ok"}
    tokens = post(url + "/tokenize", {"content": "Hello, world!"})["tokens"]
    assert post(url + "/detokenize", {"tokens": tokens})["content"] == "Hello, world!"
    assert "France" in post(url + "/apply-template", {"messages": QUESTION})["prompt"]
    stream = curl("-N", "-d", json.dumps({"messages": QUESTION, "max_tokens": 4, "stream": True}), url + "/v1/chat/completions")
    assert stream.rstrip().endswith("data: [DONE]") and '"finish_reason":"length"' in stream
    assert "<!doctype html>" in curl(url + "/").lower()
    assert "vllm:num_requests_running" in curl(url + "/metrics")


def swaps(url, folder):
    one = {"lora_name": "one", "lora_path": str(folder / "pirate")}
    post(url + "/v1/load_lora_adapter", one)
    first = post(url + "/v1/chat/completions", {"model": "one", "messages": QUESTION, "temperature": 0, "max_tokens": 8})
    other = one | {"lora_path": str(folder / "sailor"), "load_inplace": True}
    post(url + "/v1/load_lora_adapter", other)
    second = post(url + "/v1/chat/completions", {"model": "one", "messages": QUESTION, "temperature": 0, "max_tokens": 8})
    assert first["system_fingerprint"] != second["system_fingerprint"]
    post(url + "/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "/etc"}, expect=403)
    post(url + "/v1/unload_lora_adapter", {"lora_name": "one"})
    post(url + "/v1/chat/completions", {"model": "one", "messages": QUESTION}, expect=404)


def tls():
    key, certificate = options.work / "key.pem", options.work / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )
    with serve(options, "--tls-certificate", certificate, "--tls-key", key) as ready:
        assert ready["url"].startswith("https://")
        answer = post(ready["url"] + "/v1/completions", {"prompt": "One", "max_tokens": 2}, "--cacert", certificate)
        assert answer["usage"]["completion_tokens"] == 2


def exchange(port, count):
    """The status line of one long answer's response, and the seconds until it came."""
    body = json.dumps({"messages": QUESTION, "max_tokens": 400, "ignore_eos": True, "stream": True})
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        line = connection.recv(4096).split(b"\r\n", 1)[0].decode()
        seconds = time.monotonic() - start
        if " 200 " in line:
            time.sleep(count)
    return line, seconds


def overload():
    with serve(options, "--max-running", 4, "--max-waiting", 4) as ready:
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            results = list(pool.map(lambda _: exchange(ready["port"], 1), range(200)))
        refused = sorted(seconds for line, seconds in results if " 429 " in line)
        assert all(" 200 " in line or " 429 " in line for line, _ in results), results
        assert len(refused) > 100
        print(f"overload: {len(refused)} of 200 refused, p50 {refused[len(refused) // 2] * 1000:.1f} ms, "
              f"p99 {refused[int(len(refused) * 0.99)] * 1000:.1f} ms")
        assert post(ready["url"] + "/v1/completions", {"prompt": "One", "max_tokens": 2})


def shutdown():
    """SIGTERM lets the running answer end and takes no other."""
    with serve(options) as ready:
        body = {"messages": QUESTION, "max_tokens": 300, "ignore_eos": True, "stream": True}
        running = subprocess.Popen(
            ["curl", "-sN", "-d", json.dumps(body), ready["url"] + "/v1/chat/completions"], stdout=subprocess.PIPE, text=True
        )
        running.stdout.readline()
        ready["process"].send_signal(signal.SIGTERM)
        time.sleep(0.05)
        refused = subprocess.run(
            ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-d", json.dumps(body), ready["url"] + "/v1/chat/completions"],
            capture_output=True, text=True,
        ).stdout
        rest = running.stdout.read()
        assert rest.rstrip().endswith("data: [DONE]") and '"finish_reason":"length"' in rest, rest[-500:]
        # 503, or no connection where the answer was quicker than the second request.
        assert refused in ("503", "000"), refused


sailor = adapter(options, "sailor", seed=1)
pirate = adapter(options, "pirate")
with serve(options, "--adapter-root", pirate.parent) as ready:
    routes(ready["url"])
    swaps(ready["url"], pirate.parent)
tls()
overload()
shutdown()
print("curl, swaps, TLS, overload, shutdown")
