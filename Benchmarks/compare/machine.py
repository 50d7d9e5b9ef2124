"""What the figures were measured on and with."""

import datetime
import importlib.metadata
import os
import platform
import subprocess

PACKAGES = ["llama-cpp-python", "torch", "transformers", "bitsandbytes", "peft"]


def describe(lorikeet: str) -> dict[str, str]:
    gibibytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {
        "Date": datetime.date.today().isoformat(),
        "Processor": f"{cpu_model()}, {os.cpu_count()} cores",
        "Memory": f"{gibibytes:.0f} GiB",
        "System": f"{system()}, Linux {platform.release()}",
        "Lorikeet": lorikeet_version(lorikeet),
        "Peers": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }


def cpu_model() -> str:
    """The name that the processor gives itself, and its numbers: a virtual machine's name says little."""
    fields: dict[str, str] = {}
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    numbers = f"family {fields.get('cpu family')}, model {fields.get('model')}"
    return f"{fields.get('model name', platform.machine())} ({numbers})"


def system() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())


def lorikeet_version(lorikeet: str) -> str:
    try:
        words = [lorikeet, "--version"]
        number = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        number = "none"
    words = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(words, capture_output=True, text=True).stdout.strip()
    return f"{number} (commit {commit})"


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
