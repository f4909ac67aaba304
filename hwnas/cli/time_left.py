"""How long a task still takes, from how long its steps took so far."""

from __future__ import annotations

import statistics

_FEWEST, _RECENT = 3, 50  # reports of progress
_BUNCH_S = 0.2  # reports that come together count as one
_CAP = 5.0  # times the median; what takes longer was a disturbance


class TimeLeft:
    """Seconds left of a task, once several reports have told how long a step takes.

    The first report is not counted: until then a task loads and prepares. Of the recent ones the mean is taken, each
    held at five times their median, so that one long wait does not count for hours.
    """

    def __init__(self, now_s: float, done: int) -> None:
        """Begin.

        Args:
            done: steps that were finished before.
        """
        self._at_s, self._done = now_s, done
        self._steps: list[tuple[float, int]] = []

    def add(self, now_s: float, done: int) -> None:
        """Take in that so many steps are finished now."""
        if done > self._done and now_s - self._at_s >= _BUNCH_S:
            self._steps.append(((now_s - self._at_s) / (done - self._done), done - self._done))
            self._at_s, self._done = now_s, done

    def seconds(self, total: int) -> float | None:
        """Seconds from the last report to the end of `total` steps.

        None where there are too few reports, or all steps are done, and nobody knows how long what follows takes.
        """
        counted = self._steps[1:][-_RECENT:]
        if len(counted) < _FEWEST or self._done >= total:
            return None
        most_s = _CAP * statistics.median(step_s for step_s, _ in counted)
        step_s = sum(min(own_s, most_s) * count for own_s, count in counted) / sum(count for _, count in counted)
        return step_s * (total - self._done)
