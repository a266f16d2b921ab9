"""Sums up pytest's JUnit files in one line; fails where one is missing, empty or has a failure."""

import sys
from pathlib import Path
from xml.etree import ElementTree


def count(path: Path) -> tuple[str, bool]:
    """A line such as ``engine: 12 passed, 1 failed``, and whether all is well."""
    if not path.exists() or not path.stat().st_size:
        return f"{path.stem}: broke off", False
    suites = ElementTree.parse(path).iter("testsuite")
    totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite in suites:
        for key in totals:
            totals[key] += int(suite.get(key, 0))
    failed = totals["failures"] + totals["errors"]
    passed = totals["tests"] - failed - totals["skipped"]
    line = f"{path.stem}: {passed} passed"
    for number, word in ((failed, "failed"), (totals["skipped"], "skipped")):
        line += f", {number} {word}" if number else ""
    return line, passed > 0 and not failed


if __name__ == "__main__":
    counts = [count(Path(argument)) for argument in sys.argv[1:]]
    print("; ".join(line for line, _ in counts))
    sys.exit(not all(well for _, well in counts))
