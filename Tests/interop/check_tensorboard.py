"""TensorBoard reads the scalars of a run, also of one that was stopped and resumed: one curve, each step once."""

import json
import signal
import subprocess
import time

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from interop import arguments

options = arguments()
output, events = options.work / "cut", options.work / "events"
command = [
    options.lorikeet, "train", "--model", options.model, "--data", "Examples/pirate.jsonl", "--output", output,
    "--method", "reflora", "--reflora-warmup", "2", "--rank", "4", "--batch-size", "1", "--max-length", "64",
    "--steps", "60", "--save-every", "7", "--resume", "--tensorboard", events,
]
kills = 0
while kills < 3:
    run = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1.5 + 0.3 * kills)
    if run.poll() is not None:
        break
    run.send_signal(signal.SIGKILL)
    run.wait()
    kills += 1
subprocess.run(list(map(str, command)), check=True)

rows = [json.loads(line) for line in open(output / "metrics.jsonl")]
accumulator = EventAccumulator(str(events))
accumulator.Reload()
tags = accumulator.Tags()["scalars"]
print(f"{kills} kills, {len(list(events.iterdir()))} files, tags {tags}")
keys = {"train/" + key for row in rows for key in row if key != "step"}
assert set(tags) == keys, (tags, keys)
for key in ["loss", "learning_rate", "gradient_norm", "condition_number"]:
    scalars = accumulator.Scalars("train/" + key)
    expected = [(row["step"], row[key]) for row in rows if key in row]
    assert [scalar.step for scalar in scalars] == [step for step, _ in expected], key
    for scalar, (step, value) in zip(scalars, expected):
        # The events hold fp32: half a unit in the last of its 24 bits.
        assert abs(scalar.value - value) <= abs(value) * 2**-24, (key, step, scalar.value, value)
assert kills > 0, "the run ended before it was killed"
