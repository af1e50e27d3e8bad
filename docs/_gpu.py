"""What was measured on GPUs, as a page made of the files in measured/ when the documentation is built."""

from __future__ import annotations

import json
from pathlib import Path

NOTHING = """No GPU has been measured yet: none of the figures above is claimed. On a machine with one,

```console
python asv_bench/gpu.py --write docs/measured
```

takes up to five minutes, checks the answers first, and leaves a file there that this page then shows.
"""


def write(folder: Path) -> None:
    """Write the page beside the files that it shows."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("gpu-*.json"))]
    (folder / "page.md").write_text("\n\n".join(map(_machine, found)) if found else NOTHING)


def _machine(result: dict[str, object]) -> str:
    machine, figures, measurements = result["machine"], result["figures"], result["measurements"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    lines = [
        f"### {machine['gpu']}",
        (f"On {machine['date']}, beside {machine['cpu']}, by `{machine['command']}`, in {machine['seconds']} s; "
        f"{packages}. Times are medians, and what counts are their ratios."),
        _table(["figure", "asked", "measured", ""], [
            [entry["what"], entry["asked"], entry["measured"], "held" if entry["held"] else "not held"]
            for entry in figures
        ]),
        _table(["measurement", "value", "of"], [
            [entry["what"], _number(entry["value"]), ", ".join(
                f"{name.replace('_', ' ')} {_number(value)}"
                for name, value in entry.items() if name not in {"what", "value"}
            )]
            for entry in measurements
        ]),
    ]  # fmt: skip
    return "\n\n".join(lines) + "\n"


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
