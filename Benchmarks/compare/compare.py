"""Measures Lorikeet and its peers in turn, and writes docs/benchmarks.md.

    Benchmarks/compare/run                    everything: about an hour
    Benchmarks/compare/run --quick            one round without the 7B shape
    Benchmarks/compare/run --only decode 7b   the rows whose names begin so; --list names them
"""

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys

import machine
import report
from measurement import Measurement, Sample, sample
from rows import Row, Setup, measurements, rows

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "Benchmarks" / "cache" / "samples.json"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="ROW", help="rows whose names begin so")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    parser.add_argument("--quick", action="store_true", help="one round, short, without the 7B shape")
    parser.add_argument("--rounds", type=int, help="default: 5, quick 1")
    parser.add_argument("--resume", action="store_true", help="keep what the last run measured: samples.json")
    parser.add_argument("--patience", type=float, default=30, help="seconds to wait for a quiet machine")
    parser.add_argument("--lorikeet", default=str(ROOT / ".build/release/lorikeet"))
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "Benchmarks/cache")
    parser.add_argument("--smollm2", type=pathlib.Path, default=ROOT / "models/cache/smollm2-nf4")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "docs/benchmarks.md")
    return parser.parse_args()


def chosen(prefixes: list[str] | None) -> list[Row]:
    if not prefixes:
        return rows()
    found = [row for row in rows() if row.key.startswith(tuple(prefixes))]
    if not found:
        raise SystemExit(f"--only {' '.join(prefixes)}: no such row; --list names them")
    return found


def measured_names(wanted: list[Row]) -> set[str]:
    """Names of the measurements that the rows take figures from."""
    return {figure.measurement for row in wanted for figure in (row.ours, row.theirs) if figure}


def needed(setup: Setup, wanted: list[Row]) -> list[Measurement]:
    names = measured_names(wanted)
    return [measurement for measurement in measurements(setup) if measurement.name in names]


def prepare(setup: Setup, wanted: list[Measurement]) -> None:
    """Makes the models that can be made from what is there; what is still absent fails its rows."""
    paths = {path for measurement in wanted for path in measurement.requires}
    source = ROOT / "models/cache/SmolLM2-135M-Instruct.Q4_1.gguf"
    if source.exists() and any(not path.exists() for path in paths if path.parent == setup.work / "models"):
        from gguf_variants import requantize

        requantize(source, setup.work / "models")
    for folder in (setup.work / "shapes").glob("*"):
        quantized = setup.shape_nf4(folder.name)
        if quantized in paths and not quantized.exists():
            subprocess.run([setup.lorikeet, "quantize", folder, "--output", quantized])


def saved() -> report.Samples:
    """What the last run measured."""
    values = json.loads(SAMPLES.read_text(encoding="utf-8")) if SAMPLES.exists() else {}
    return {name: [Sample(**one) for one in samples] for name, samples in values.items()}


def take(wanted: list[Measurement], rounds: int, patience: float, known: report.Samples) -> report.Samples:
    """A measurement that failed is not run again, nor a group that is known for as many rounds."""
    taken: report.Samples = {measurement.name: known.get(measurement.name, []) for measurement in wanted}
    for group in dict.fromkeys(measurement.group for measurement in wanted):
        members = [measurement for measurement in wanted if measurement.group == group]
        if all(len(taken[measurement.name]) >= rounds for measurement in members):
            continue
        for measurement in members:
            taken[measurement.name] = []
        for round_number in range(1, rounds + 1):
            for measurement in members:
                samples = taken[measurement.name]
                if any(one.failure for one in samples):
                    continue
                samples.append(with_weights(measurement, sample(measurement, patience)))
                tell(group, round_number, measurement, samples[-1])
                save(taken)  # each time: an interrupted run keeps what it has
    return taken


def with_weights(measurement: Measurement, taken: Sample) -> Sample:
    """Adds the peak memory in multiples of the weights' files, for the model that was measured."""
    if taken.failure or len(measurement.requires) != 1:
        return taken
    weights = sum(file.stat().st_size for file in measurement.requires[0].glob("*.safetensors"))
    peak = taken.figures.get("peak_memory_bytes")
    if not weights or not isinstance(peak, (int, float)):
        return taken
    return dataclasses.replace(taken, figures={**taken.figures, "memory_of_weights": peak / weights})


def tell(group: str, round_number: int, measurement: Measurement, taken: Sample) -> None:
    text = f"failed: {taken.failure}" if taken.failure else f"others {taken.others:.2f}"
    print(f"{group}, round {round_number}: {measurement.name}: {text}", file=sys.stderr, flush=True)


def save(taken: report.Samples) -> None:
    """The raw samples; they are not for the repository, being of one machine on one day."""
    SAMPLES.parent.mkdir(parents=True, exist_ok=True)
    values = {name: [dataclasses.asdict(one) for one in samples] for name, samples in taken.items()}
    SAMPLES.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    options = arguments()
    wanted_rows = chosen(options.only)
    if options.list:
        print("\n".join(f"{row.key:28}{row.title}" for row in wanted_rows))
        return
    setup = Setup(options.lorikeet, options.work, options.smollm2, options.quick)
    wanted = needed(setup, wanted_rows)
    prepare(setup, wanted)
    rounds = options.rounds or (1 if options.quick else 5)
    taken = take(wanted, rounds, options.patience, saved() if options.resume else {})
    for name in measured_names(wanted_rows) - taken.keys():
        taken[name] = [Sample({}, 0, "left out of a quick run")]
    outcomes = [report.outcome(row, taken) for row in wanted_rows]
    text = report.markdown(outcomes, taken, machine.describe(options.lorikeet), rounds)
    options.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
