"""How fast it was, as a page and pictures made of the files in measured/ when the documentation is built."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from _gpu import _number, _table
from matplotlib.figure import Figure

INK, SECOND, THIRD, SOFT = "#1b4f72", "#b9770e", "#7d3c98", "#a0a0a0"
SHOWN = {"auto": (INK, "o"), "sgd": (SECOND, "s")}
NOTHING = """No machine has been measured yet: nothing is claimed. On one that has nothing else to do,

```console
python asv_bench/speed.py --json docs/measured/speed-NAME.json
python asv_bench/peers.py --json docs/measured/peers-NAME.json
```

leave files there that this page then shows.
"""
HEADS = {"ours": "gradstep", "direct": "direct", "iterative": "iterative", "sgd": "SGD"}


def write(folder: Path) -> None:
    """Write the page beside the files that it shows, a part a machine, and a picture of each."""
    results = {kind: _read(folder, kind) for kind in ("peers", "speed")}
    parts = [
        _machine(folder, name, results["peers"].get(name), results["speed"].get(name))
        for name in sorted(results["peers"].keys() | results["speed"].keys())
    ]
    (folder / "speed-page.md").write_text("\n\n".join(parts) + "\n" if parts else NOTHING, encoding="utf-8")


def _read(folder: Path, kind: str) -> dict[str, dict]:
    paths = sorted(folder.glob(f"{kind}-*.json"))
    return {path.stem.partition("-")[2]: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def _machine(folder: Path, name: str, peers: dict | None, speed: dict | None) -> str:
    """Return the part of one machine: what it is, then peers, measurements, figures, and where we lose."""
    found = [result for result in (peers, speed) if result]
    first = found[0]["machine"]
    lines = [f"## {first['cpu']}, {first['threads']} threads" if "threads" in first else f"## {first['cpu']}"]
    lines += [_of_run(result["machine"]) for result in found]
    if peers:
        picture = f"speed-{name}.svg"
        _draw(folder / picture, peers["cases"])
        lines += ["### Time to 0.01 standard errors", _beside_peers(peers, f"measured/{picture}")]
    if speed:
        lines += _measurements(speed["measurements"])
    lines += _losses(peers["cases"] if peers else [], [figure for result in found for figure in result["figures"]])
    return "\n\n".join(lines)


def _of_run(machine: dict) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    seconds = f", in {machine['seconds']:,} s" if "seconds" in machine else ""
    return f"On {machine['date']}, by `{machine['command']}`{seconds}; {packages}."


def _beside_peers(peers: dict, picture: str) -> str:
    """Return the picture, and a table for each size: contestants in rows, kinds of data in columns."""
    cases = peers["cases"]
    near = f"{peers['near']:g} standard errors"
    said = f"Time to {near} of gradstep and of its peers, in reads of the rows, by table"
    lines = [
        f"```{{image}} {picture}\n:alt: {said}\n```",
        (
            f"In reads of the rows; the time of one is in brackets. Where a contestant did not come to {near} within "
            f"{peers['limit']:g} s, or raised an error, the distance that it came to stands in its place, or the "
            "reason. Bold: the quickest."
        ),
    ]
    for size in dict.fromkeys(case["size"] for case in _by_columns(cases)):
        of_size = [case for case in cases if case["size"] == size]
        kinds = [f"{case['kind']} ({1e3 * case['read_seconds']:.3g} ms)" for case in of_size]
        table = _table([_shape(of_size[0]), "", *kinds], _rows(of_size))
        lines.append(table)
    return "\n\n".join(lines)


def _by_columns(cases: list[dict]) -> list[dict]:
    return sorted(cases, key=lambda case: case["d"])


def _shape(case: dict) -> str:
    return f"{case['n']:,} x {case['d']:,}"


def _rows(cases: list[dict]) -> list[list[str]]:
    """Return a row for each contestant, quickest first of the first case's, those that are not there left out."""
    by_name = [{one["name"]: one for one in case["contestants"]} for case in cases]
    quickest = [min((one["seconds"] for one in ones.values() if one["seconds"]), default=0) for ones in by_name]
    order = sorted(dict.fromkeys(name for ones in by_name for name in ones), key=lambda name: _seconds(by_name, name))
    rows = []
    for name in order:
        ones = [ones.get(name) for ones in by_name]
        group = HEADS[next(one["group"] for one in ones if one)]
        cells = [_cell(one, least) for one, least in zip(ones, quickest, strict=True)]
        rows.append([f"`{name}`" if group == "gradstep" else name, group, *cells])
    return rows


def _seconds(by_name: list[dict], name: str) -> tuple[float, ...]:
    return tuple((ones.get(name) or {}).get("seconds") or np.inf for ones in by_name)


def _cell(one: dict | None, quickest: float) -> str:
    if one is None:
        return ""
    if one["seconds"]:
        reads = f"{one['reads']:.3g}" if one["reads"] < 1000 else f"{one['reads']:,.0f}"
        return f"**{reads}**" if one["seconds"] == quickest else reads
    if one["distance"] is not None:
        return f"{one['distance']:.2g} SE"
    return one["reason"].partition(":")[0]


def _draw(path: Path, cases: list[dict]) -> None:
    """Draw a line for each table: peers as soft marks, gradstep's as strong ones."""
    cases = _by_columns(cases)
    figure = Figure(figsize=(7.2, 0.8 + 0.3 * len(cases)), layout="constrained")
    axes = figure.subplots()
    for y, case in enumerate(cases):
        done = [one for one in case["contestants"] if one["reads"]]
        for group, marker in (("direct", "|"), ("iterative", "|"), ("sgd", "x")):
            reads = [one["reads"] for one in done if one["group"] == group]
            axes.plot(reads, [y] * len(reads), marker, color=SOFT, markersize=7 if marker == "|" else 5)
        for one in done:
            if one["name"] in SHOWN:
                colour, marker = SHOWN[one["name"]]
                axes.plot(one["reads"], y, marker, color=colour, markersize=5)
    for label, colour, marker in (
        *((f"gradstep {name}", *look) for name, look in SHOWN.items()), ("peers", SOFT, "|"), ("SGD peers", SOFT, "x")
    ):  # fmt: skip
        axes.plot([], [], marker, color=colour, label=label)
    names = [f"{_shape(case)}, {case['kind']}" for case in cases]
    axes.set(xscale="log", xlabel="reads of the rows", yticks=range(len(cases)), ylim=(len(cases) - 0.5, -0.5))
    axes.set_yticklabels(names)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    figure.savefig(path, metadata={"Date": None})


def _measurements(measurements: list[dict]) -> list[str]:
    """Return what was measured many times with other facts as tables of their own, and the rest as one."""
    by_what: dict[str, list[dict]] = {}
    for entry in measurements:
        by_what.setdefault(entry["what"], []).append(entry)
    lines, alone = [], []
    for what, entries in by_what.items():
        if len(entries) == 1:
            facts = ((name, value) for name, value in entries[0].items() if name not in {"what", "value"})
            alone.append([what, _number(entries[0]["value"]), ", ".join(f"{k} {_number(v)}" for k, v in facts)])
            continue
        names = [
            name for name in dict.fromkeys(name for one in entries for name in one) if name not in {"what", "value"}
        ]
        rows = [[*(_number(one.get(name, "")) for name in names), _number(one["value"])] for one in entries]
        lines += [f"### {what[:1].upper()}{what[1:]}", _table([*names, "value"], rows)]
    if alone:
        lines += ["### Other measurements", _table(["measurement", "value", "of"], alone)]
    return lines


def _losses(cases: list[dict], figures: list[dict]) -> list[str]:
    """Return where a peer is ahead of `auto`, and what was asked beside what came of it, what is not held first."""
    ahead, compared = [], 0
    for case in cases:
        ones = {one["name"]: one for one in case["contestants"]}
        if "auto" not in ones:
            continue
        compared += 1
        ours = ones["auto"]["seconds"] or np.inf
        rivals = [one for one in ones.values() if one["group"] != "ours" and one["seconds"] and one["seconds"] < ours]
        ahead += [
            [f"{_shape(case)}, {case['kind']}", one["name"], f"{ours / one['seconds']:.2f}"]
            for one in sorted(rivals, key=lambda one: one["seconds"])
        ]
    lines = ["### Where it loses"]
    if ahead:
        lines += ["Peers that are ahead of `auto`:", _table(["table", "peer", "times as fast"], ahead)]
    elif compared:
        lines.append(f"No peer was ahead of `auto` on any of {compared} tables.")
    missed = [figure for figure in figures if not figure["held"]]
    for said, some in (("Asked, and not held:", missed), ("Asked, and held:", [f for f in figures if f["held"]])):
        rows = [[figure["what"], figure["asked"], figure["measured"]] for figure in some]
        lines += [said, _table(["figure", "asked", "measured"], rows)] if rows else []
    return lines
