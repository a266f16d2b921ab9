"""One line in memory: the contenders take turns, and answers are compared before times are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from agreement import Agreement, compare
from contest import Answer, Contestant, Unavailable, contestants
from peers import ENGINE, LLOYD, REFERENCE, Task
from table import Row, Target, median

# Least share of equal labels and largest relative difference of the inertia: of this engine
# from scikit-learn in float64, by the rasters' dtype (floats are coded on a fine grid), and of
# the peers, whose float32 sums drift, from this engine.
EXACT = {"uint16": (0.999999, 1e-7), "float32": (0.9999, 1e-5)}
ROUNDED = (0.99, 1e-3)
# Whom the figures to reach are set against: scikit-learn makes float64 of integer rasters.
LLOYDS = {"uint16": (LLOYD, REFERENCE), "float32": (LLOYD,)}

Result = TypeVar("Result")


@dataclass(frozen=True)
class Match:
    """``at_least`` is how many times faster than scikit-learn's Lloyd this engine is to be.

    ``sample`` measures a contestant once, in seconds; ``iterations`` is what it fits last.
    """

    title: str
    task: Task
    dtype: str
    peers: tuple[str, ...]
    at_least: float
    iterations: int
    sample: Callable[[Contestant], float]

    def play(self, repeats: int, log: Callable[[str], None]) -> list[Row]:
        """Take turns, this engine before each peer, and return the rows."""
        log(self.title)
        found = _Found()
        with contestants((ENGINE, *self.peers), self.task) as (ready, missing):
            found.missing.update(missing)
            for contestant in ready:  # reads, compiles, starts threads
                found.take(contestant, lambda one: one.fit(1))
            engine = [one for one in ready if one.name == ENGINE]
            rivals = [one for one in ready if one.name != ENGINE]
            turns = [one for rival in rivals for one in (*engine, rival)] or engine
            for number in range(repeats):
                for contestant in turns:
                    seconds = found.take(contestant, self.sample)
                    if seconds is not None:
                        found.samples.setdefault(contestant.name, []).append(seconds)
                log(f"  repeat {number + 1} of {repeats}")
            for contestant in ready:
                answer = found.take(contestant, Contestant.answer)
                if answer is not None:
                    found.answers[contestant.name] = answer
        if ENGINE not in found.answers:
            return [Row.absent(self.title, ENGINE, found.missing[ENGINE])]
        log("  checking the answers")
        return self._rows(found, found.answers.get(REFERENCE) or self._reference())

    def _reference(self) -> Answer | str:
        """Return the answer of the reference, run for it alone, or why there is none."""
        found = _Found()
        with contestants((REFERENCE,), self.task) as (ready, missing):
            found.missing.update(missing)
            for contestant in ready:
                found.take(contestant, lambda one: one.fit(self.iterations))
                answer = found.take(contestant, Contestant.answer)
                if answer is not None:
                    return answer
        return found.missing[REFERENCE]

    def _rows(self, found: _Found, reference: Answer | str) -> list[Row]:
        matrix = self.task.spectra.mapped()
        own = found.answers[ENGINE]
        if isinstance(reference, str):
            agreed, right, note = None, False, f"not checked: {REFERENCE}: {reference}"
        else:
            agreed = compare(matrix, own, reference)
            right = agreed.within(*EXACT[self.dtype])
            note = f"{'' if right else 'WRONG ANSWER: '}against {REFERENCE}"
        mine = self._row(ENGINE, found, agreed, note)
        rows = [mine]
        for name in self.peers:
            if name not in found.answers:
                rows.append(Row.absent(self.title, name, found.missing[name]))
                continue
            agreed = compare(matrix, found.answers[name], own)
            row = self._row(name, found, agreed, "")
            rows.append(self._rated(row, mine.seconds, agreed) if right else row)
        return rows

    def _row(self, name: str, found: _Found, agreed: Agreement | None, note: str) -> Row:
        samples = tuple(found.samples[name])
        row = Row(self.title, name, seconds=median(samples), samples=samples, note=note)
        return replace(row, labels=agreed.labels, inertia=agreed.inertia) if agreed else row

    def _rated(self, row: Row, mine: float, agreed: Agreement) -> Row:
        """Return the row with its ratio, if it is a ratio of two times for one answer."""
        if not agreed.within(*ROUNDED):
            return replace(row, note="another answer, so no ratio")
        if row.seconds <= 0.0 or mine <= 0.0:
            return replace(row, note="too short to be timed")
        ratio = row.seconds / mine
        if row.contender not in LLOYDS[self.dtype]:
            return replace(row, ratio=ratio)
        return replace(row, ratio=ratio, targets=(Target.at_least(self.at_least, ratio, "×"),))


@dataclass
class _Found:
    """What the turns gave; a contender that fails once is missing from then on."""

    samples: dict[str, list[float]] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def take(self, contestant: Contestant, act: Callable[[Contestant], Result]) -> Result | None:
        """Return what the act gives, None if the contender has failed or does so now."""
        if contestant.name in self.missing:
            return None
        try:
            return act(contestant)
        except Unavailable as error:
            self.missing[contestant.name] = str(error)
            return None
