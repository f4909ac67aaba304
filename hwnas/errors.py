"""Every error that hwnas raises on purpose, and the exit code that the command line gives it.

    HwnasError                      1   a defect: please report it
    ├── InputError                  2   usage or bad input
    │   ├── ArgumentError           2   an argument of a function that is of another type, or out of bounds
    │   ├── DataError               2   images that cannot be used
    │   │   └── UnreadableError     2   images that cannot be read
    │   └── TableError              2   a latency table that is missing, corrupt or stale
    │       └── MissingRowsError    2   rows that the table lacks, or whose lowering has changed
    ├── InfeasibleBudgetError       3   no network of the space is that fast
    ├── InfeasibleLimitError        3   no network of the space is within the limit on its size or memory
    ├── BudgetMissedError           4   the exported file is slower than the budget on the device
    ├── DeviceError                 5   the device fails while measuring
    │   ├── UnreachableError        5   the device cannot be reached, or the link to it was cut
    │   └── ModelError              5   the runtime on the device cannot load or run a model
    ├── ExportError                 6   the model file could not be written, or differs from the trained network
    ├── DivergedError               7   the loss is not a number
    ├── StorageError                8   the disk is full, read-only, or a file cannot be written
    ├── UndecidedError              9   the exported file is too close to the budget to tell whether it is faster
    ├── LostRankError              10   one of the processes that train together is gone
    └── ClusterError               11   the cluster cannot be joined, or was lost in the midst of its work

A message says the rule and the value that broke it; the hint says what to do next.
"""

from __future__ import annotations


class HwnasError(Exception):
    """Base of the tree.

    Attributes:
        exit_code: what the process exits with when this error ends a command.
        hint: one sentence on what to do next; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def facts(self) -> dict[str, object]:
        """What `--json` says beside message, hint and exit code."""
        return {}

    def to_json(self) -> dict[str, object]:
        """All that `--json` says."""
        return {"error": str(self), "hint": self.hint, "exit_code": self.exit_code} | self.facts()


class InputError(HwnasError):
    """Usage or bad input."""

    exit_code = 2


class ArgumentError(InputError):
    """An argument of a function of hwnas that is of another type, or outside its bounds.

    Attributes:
        argument: its name.
        rule: what it must be and is not, which goes after the name.
    """

    def __init__(self, message: str, *, argument: str, rule: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.argument, self.rule = argument, rule


class DataError(InputError):
    """Images or labels that cannot be used."""


class UnreadableError(DataError):
    """Image files that cannot be read.

    Attributes:
        names: of all of them, each with the reason.
    """

    def __init__(self, message: str, *, names: tuple[str, ...], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.names = names

    def facts(self) -> dict[str, object]:
        return {"unreadable": list(self.names)}


class TableError(InputError):
    """A latency table that is missing, corrupt or stale."""


class MissingRowsError(TableError):
    """Rows that a table lacks, or whose fingerprint no longer matches the lowering."""

    def __init__(self, message: str, *, keys: tuple[str, ...], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.keys = keys


class InfeasibleBudgetError(HwnasError):
    """No network of the space is as fast as the budget asks.

    Attributes:
        smallest_ms: the smallest reachable latency, in milliseconds.
    """

    exit_code = 3

    def __init__(self, message: str, *, smallest_ms: float, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.smallest_ms = smallest_ms


class InfeasibleLimitError(HwnasError):
    """No network of the space is within a limit on its size or memory.

    Attributes:
        limit: the option of the command line, for example `--max-size-kb`.
        smallest_kb: the smallest value that can be met, in KiB.
    """

    exit_code = 3

    def __init__(self, message: str, *, limit: str, smallest_kb: float, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.limit = limit
        self.smallest_kb = smallest_kb


class BudgetMissedError(HwnasError):
    """The exported file is slower than the budget on the device."""

    exit_code = 4


class UndecidedError(HwnasError):
    """The exported file is too close to the budget to tell whether it is faster."""

    exit_code = 9


class DeviceError(HwnasError):
    """The device cannot be reached, or fails while measuring."""

    exit_code = 5


class UnreachableError(DeviceError):
    """The device cannot be reached, or the link to it was cut: worth another try."""


class ModelError(DeviceError):
    """The runtime on the device cannot load or run a model."""


class ExportError(HwnasError):
    """A model file could not be written, or does not compute what the trained network computes."""

    exit_code = 6


class DivergedError(HwnasError):
    """The loss is not a number."""

    exit_code = 7


class StorageError(HwnasError):
    """A file cannot be written: the disk is full, read-only, or the path is not allowed."""

    exit_code = 8


class LostRankError(HwnasError):
    """One of the processes that torchrun started is gone, and the others end with it."""

    exit_code = 10


class ClusterError(HwnasError):
    """The cluster that tasks are computed on cannot be joined, or was lost: worth another try with what is kept."""

    exit_code = 11


INTERRUPTED_EXIT_CODE = 130
