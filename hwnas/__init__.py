"""hwnas: hardware-aware neural architecture search that ends with a model file measured on its device.

>>> import hwnas
>>> result = hwnas.search("photos", budget_ms=20)  # doctest: +SKIP
>>> print(result.model, result.verdict, result.accuracy)  # doctest: +SKIP

Everything in `__all__` is loaded when it is first used, so the import itself takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwnas.api.exports import export
    from hwnas.api.learning import meta_train
    from hwnas.api.model_files import predict, write_report
    from hwnas.api.outcomes import SearchPlan, SearchResult
    from hwnas.api.retraining import retrain
    from hwnas.api.runs import compare_runs, list_runs, remove_runs, show_run, where
    from hwnas.api.searches import plan_search, search
    from hwnas.api.specialising import specialise
    from hwnas.api.suggesting import suggest_search
    from hwnas.api.tables import adapt_device, profile_device, profile_devices
    from hwnas.api.verification import verify
    from hwnas.config import Budget, Configuration, Target
    from hwnas.data import load_dataset
    from hwnas.devices.verdict import Verdict
    from hwnas.errors import (
        BudgetMissedError,
        ClusterError,
        DataError,
        DeviceError,
        DivergedError,
        ExportError,
        HwnasError,
        InfeasibleBudgetError,
        InfeasibleLimitError,
        InputError,
        MissingRowsError,
        ModelError,
        StorageError,
        TableError,
        UnreachableError,
    )
    from hwnas.events import Event
    from hwnas.latency.table import LatencyTable
    from hwnas.trackers import MLflowTracker, TensorBoardTracker

__version__ = "0.1.0"

__all__ = [
    "Budget",
    "BudgetMissedError",
    "ClusterError",
    "Configuration",
    "DataError",
    "DeviceError",
    "DivergedError",
    "Event",
    "ExportError",
    "HwnasError",
    "InfeasibleBudgetError",
    "InfeasibleLimitError",
    "InputError",
    "LatencyTable",
    "MLflowTracker",
    "MissingRowsError",
    "ModelError",
    "SearchPlan",
    "SearchResult",
    "StorageError",
    "TableError",
    "Target",
    "TensorBoardTracker",
    "UnreachableError",
    "Verdict",
    "adapt_device",
    "compare_runs",
    "export",
    "list_runs",
    "load_dataset",
    "meta_train",
    "plan_search",
    "predict",
    "profile_device",
    "profile_devices",
    "remove_runs",
    "retrain",
    "search",
    "show_run",
    "specialise",
    "suggest_search",
    "verify",
    "where",
    "write_report",
]

_HOMES = {
    "Budget": "config",
    "Configuration": "config",
    "Event": "events",
    "LatencyTable": "latency.table",
    "MLflowTracker": "trackers",
    "SearchPlan": "api.outcomes",
    "SearchResult": "api.outcomes",
    "Target": "config",
    "TensorBoardTracker": "trackers",
    "Verdict": "devices.verdict",
    "adapt_device": "api.tables",
    "compare_runs": "api.runs",
    "export": "api.exports",
    "list_runs": "api.runs",
    "load_dataset": "data",
    "meta_train": "api.learning",
    "plan_search": "api.searches",
    "predict": "api.model_files",
    "profile_device": "api.tables",
    "profile_devices": "api.tables",
    "remove_runs": "api.runs",
    "retrain": "api.retraining",
    "search": "api.searches",
    "show_run": "api.runs",
    "specialise": "api.specialising",
    "suggest_search": "api.suggesting",
    "verify": "api.verification",
    "where": "api.runs",
    "write_report": "api.model_files",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'hwnas' has no attribute {name!r}")
    home = "errors" if name.endswith("Error") else _HOMES[name]
    found = getattr(importlib.import_module(f"hwnas.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
