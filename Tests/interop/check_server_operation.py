"""`lorikeet serve` in operation: curl, TLS, adapters at run time, overload, SIGTERM."""

import json
import resource
import selectors
import signal
import socket
import subprocess
import time

from serving import QUESTION, adapter, arguments, serve

CONNECTIONS = 1000
resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
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
    post(url + "/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "/etc"}, expect=404)
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


def overload():
    """A thousand connections ask at once; 64 run, 64 wait, the others are told so at once."""
    body = json.dumps({"messages": QUESTION, "max_tokens": 64, "ignore_eos": True, "stream": True})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    request = (head + body).encode()
    with serve(options, "--max-running", 64, "--max-waiting", 64) as ready:
        selector = selectors.DefaultSelector()
        connections = [socket.create_connection(("127.0.0.1", ready["port"])) for _ in range(CONNECTIONS)]
        sent, first, answers = {}, {}, {connection: b"" for connection in connections}
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
            sent[connection] = time.monotonic()
            connection.sendall(request)
        while selector.get_map():
            ready_now = selector.select(timeout=60)
            assert ready_now, "the server does not answer"
            for key, _ in ready_now:
                connection = key.fileobj
                first.setdefault(connection, time.monotonic())
                data = connection.recv(65536)
                answers[connection] += data
                answer = answers[connection]
                if not data or b"data: [DONE]" in answer or b"queue_full" in answer:
                    selector.unregister(connection)
        refused = [c for c in connections if answers[c].startswith(b"HTTP/1.1 429 ")]
        whole = [c for c in connections if answers[c].startswith(b"HTTP/1.1 200 ") and b"data: [DONE]" in answers[c]]
        assert len(refused) + len(whole) == CONNECTIONS, "an answer that is neither whole nor a refusal"
        assert len(whole) >= 64 and len(refused) > CONNECTIONS / 2 and not any(b'"error"' in answers[c] for c in whole)
        times = sorted(1000 * (first[c] - sent[c]) for c in refused)
        print(f"{CONNECTIONS} connections: {len(refused)} refused, p50 {times[len(times) // 2]:.1f} ms, "
              f"p99 {times[int(len(times) * 0.99)]:.1f} ms, most {times[-1]:.1f} ms")
        # The client shares the processor with the server.
        assert times[int(len(times) * 0.99)] <= 500
        for connection in connections:
            connection.close()
        assert post(ready["url"] + "/v1/completions", {"prompt": "One", "max_tokens": 2})


def connection_limit():
    """Connections past the limit wait until others end."""
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with serve(options, "--max-connections", 8) as ready:
        connections = [socket.create_connection(("127.0.0.1", ready["port"]), timeout=1) for _ in range(20)]
        served = []
        for connection in connections:
            connection.sendall(request)
            try:
                served += [connection] if connection.recv(4096) else []
            except TimeoutError:
                break
        # A read of the listening socket may take a few in at once.
        assert 8 <= len(served) <= 12, len(served)
        waiting = connections[len(served)]
        for connection in served:
            connection.close()
        waiting.settimeout(10)
        assert waiting.recv(4096).startswith(b"HTTP/1.1 200 ")


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
connection_limit()
shutdown()
print("curl, swaps, TLS, overload, connections, shutdown")
