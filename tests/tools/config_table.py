"""The table of configs in mm_configs/README.md: ``python tests/tools/config_table.py [--write]``."""

import ast
import re
import sys
from pathlib import Path

CONFIGS = Path(__file__).parents[2] / "mm_configs"
README = CONFIGS / "README.md"
_BEGIN, _END = "<!-- config_table.py -->\n", "<!-- end -->\n"
_TIMES = "\N{MULTIPLICATION SIGN}"
# What tests/openmmlab/test_configs.py and test_one_epoch.py do with a config of each kind.
STATUS = {
    "pretraining": "trains an epoch on made-up images",
    "kNN": "builds; evaluates, shrunk",
    "evaluation": "trains an epoch on made-up images and evaluates",
    "dense": "compiled, and the keys it sets are checked",
}


def shipped() -> list[Path]:
    """Every config but those that only serve to be inherited from."""
    return sorted(path for path in CONFIGS.rglob("*.py") if "_base_" not in path.relative_to(CONFIGS).parts)


def host(path: Path) -> str | None:
    """The package beside mmpretrain that a config inherits from, "mmdet" or "mmseg"; None if there is none."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_base_":
            found = re.search(r"(mmdet|mmseg)::", ast.unparse(node.value))
            return found and found[1]
    return None


def kind(path: Path) -> str:
    """Which of the kinds in :data:`STATUS` a config is."""
    if host(path):
        return "dense"
    if "-knn_" in path.stem:
        return "kNN"
    return "evaluation" if "benchmarks" in path.parts else "pretraining"


def epochs(path: Path) -> int:
    """The number of epochs that a config's name states, as in ``coslr-100e``."""
    found = re.search(r"-(\d+)e_", path.stem)
    return int(found[1]) if found else 0


def batch(path: Path) -> int:
    """The global batch that a config's name states, as in ``8xb256``."""
    found = re.search(r"_(\d+)xb(\d+)-", path.stem)
    return int(found[1]) * int(found[2]) if found else 0


def summary(path: Path) -> str:
    """The first sentence of the comment that a config begins with."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("# "):
            break
        lines.append(line[2:])
    return re.split(r"\.(?: |$)", " ".join(lines))[0]


def _row(path: Path) -> str:
    which = kind(path)
    length = "its base's"
    if which == "kNN":
        length = f"none {_TIMES} {batch(path)}"
    elif which != "dense":
        length = f"{epochs(path)} {_TIMES} {batch(path)}"
    status = STATUS[which]
    if host(path):
        # What tests/openmmlab/test_dense_configs.py shows, in the environment of tests/tools/dense_configs.sh.
        status += f"; with {host(path)} it builds, takes the weights, trains a step and predicts"
    elif "digits" in path.stem and which == "pretraining":
        status = "trained to the end by `imsvd-plugins demo`"
    elif "digits" in path.stem and which == "kNN":
        status = "evaluates a checkpoint, as scikit-learn does"
    return f"| [{path.stem}]({path.relative_to(CONFIGS).as_posix()}) | {summary(path)} | {length} | {status} |"


def table() -> str:
    """The table, in Markdown."""
    lines = [f"| config | what it is | epochs {_TIMES} global batch | status |", "| --- | --- | --- | --- |"]
    return "\n".join(lines + [_row(path) for path in shipped()]) + "\n"


def replaced(text: str) -> str:
    """The README with the table as it should be."""
    before, _, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError(f"{README} must hold the lines {_BEGIN.strip()} and {_END.strip()}.")
    return f"{before}{_BEGIN}{table()}{_END}{after}"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        README.write_text(replaced(README.read_text()))
    else:
        print(table(), end="")
