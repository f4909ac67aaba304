"""Work of runner.py that tells what each provider of the runtime takes of a model; needs what that needs.

The job has one model and {"offers": true}. Instead of rounds it writes {"event": "offer", "provider", "partitions",
"taken", "operators", "trouble"} for each: how many of the graph's operators it takes, in how many partitions, null for
what nobody tells; or why it does not run the model. The usual provider of ONNX Runtime takes all that others leave.
"""

from __future__ import annotations

from typing import Any

UNKNOWN = {"partitions": None, "taken": None, "operators": None}


def delegated(interpreter: Any) -> dict[str, Any]:
    """What the delegates of LiteRT's interpreter take of a model, by the nodes that each stands for.

    A delegate reads and makes tensors of the graph; walking back from those that it makes finds what it took.
    """
    details = interpreter._get_ops_details()
    operators = [one for one in details if one["op_name"] != "DELEGATE"]
    delegates = [one for one in details if one["op_name"] == "DELEGATE"]
    makers = {int(tensor): index for index, one in enumerate(operators) for tensor in one["outputs"]}
    taken = set()
    for one in delegates:
        given, left = set(map(int, one["inputs"])), [int(tensor) for tensor in one["outputs"]]
        while left:
            tensor = left.pop()
            if tensor in makers and makers[tensor] not in taken and tensor not in given:
                taken.add(makers[tensor])
                left += [int(read) for read in operators[makers[tensor]]["inputs"]]
    return {"partitions": len(delegates), "taken": len(taken), "operators": len(operators)}


def share(runner: Any, runtime: Any, provider: str, path: str) -> dict[str, Any]:
    """What a provider takes of the model."""
    if hasattr(runtime, "interpreter"):  # LiteRT
        model = runtime.interpreter(model_path=path, num_threads=runtime.threads)
        model.allocate_tensors()
        return delegated(model)
    if provider == "cpu":
        return UNKNOWN
    runtime.provider, runtime.took = provider, True  # what it does not take is told here, and no error
    found = runner.AID["ort_share"](runtime.session(path), provider)
    return found if found["operators"] or found["taken"] is None else {**found, "trouble": "it does not start"}


def work(runner: Any, job: dict[str, Any]) -> None:
    """Load the model by each provider, and emit what that takes; `runner` is the module runner.py."""
    runtime = runner.AID["runtime_of"](runner.RUNTIMES, job)
    ((_, path),) = job["models"]
    for provider in runner.AID["offers"](runtime):
        runner.emit(event="loading", name=f"for {provider}")
        try:
            found = share(runner, runtime, provider, path)
        except runtime.errors as error:
            found = {**UNKNOWN, "trouble": str(error).strip() or type(error).__name__}
        runner.emit(event="offer", provider=provider, **{"trouble": "", **found})
