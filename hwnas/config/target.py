"""The options of the devices that a search is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from hwnas.config.budget import budget_text
from hwnas.config.option import Option
from hwnas.config.section import Section
from hwnas.config.targets import TARGET_EXAMPLES, TARGET_RULE, parse_targets, target_texts
from hwnas.errors import InputError
from hwnas.runtimes import known_precision, known_provider, known_runtime

Latency = Literal["warm", "cold"]
_BUDGETS = "--budget-ms 50% for the middle of the range, --budget-ms 20, --budgets-ms 5,10,20"


class Target(Section):
    """The device, and the limits that a network must keep there: `Target(budget="20", device="pi4")`.

    Several devices, each with its budgets, are `targets`, in place of device, runtime, provider, precision and budget.
    A single one of them is these five.
    """

    title: ClassVar[str] = "target"
    about: ClassVar[str] = "The device, and the limits that a network must keep there; or several devices."

    budget: Annotated[
        str,
        BeforeValidator(budget_text),
        Option(
            "Milliseconds, or a share of the space's range such as 50%.",
            flag="--budget-ms",
            aliases={"--budgets-ms": "Instead: several of them, such as 5,10,20 or 20%,50%, from one search."},
            rule="milliseconds or a share such as 50%, or several with commas between them",
            example=_BUDGETS,
            by_default="none: this or targets must be set",
        ),
    ] = ""
    targets: Annotated[
        tuple[str, ...],
        BeforeValidator(target_texts),
        Option(
            "Instead: several devices, each with its budgets, from one search, such as pi4:50ms host@litert:5ms,10ms; "
            "given once for each.",
            flag="--target",
            rule=TARGET_RULE,
            example=TARGET_EXAMPLES,
            by_default="one device: device, runtime, provider, precision and budget",
        ),
    ] = ()
    latency: Annotated[
        Latency,
        Option(
            "What budgets are about: calls back to back (warm), or one call now and then, after other work (cold).",
            flag="--latency",
        ),
    ] = "warm"
    device: Annotated[str, Option("Device id (see `hwnas devices list`), or a TOML file.", flag="--device")] = "host"
    runtime: Annotated[
        str,
        AfterValidator(known_runtime),
        Option(
            "Runtime, instead of the device's own: onnxruntime, litert or ort-web.",
            flag="--runtime",
            by_default="the device's own",
        ),
    ] = ""
    provider: Annotated[
        str,
        AfterValidator(known_provider),
        Option(
            "Execution provider or delegate of the runtime, instead of the device's own: cpu, openvino, xnnpack, cuda, "
            "tensorrt, coreml, nnapi, qnn or gpu (see `hwnas devices check`).",
            flag="--provider",
            by_default="the device's own",
        ),
    ] = ""
    precision: Annotated[
        str,
        AfterValidator(known_precision),
        Option(
            "Precision, instead of the device's own: fp32 or int8.", flag="--precision", by_default="the device's own"
        ),
    ] = ""
    max_size_kb: Annotated[
        float,
        Option(
            "Largest model file, in KB of 1,024 bytes (KiB); 0 is no limit.", flag="--max-size-kb", unit="KiB", ge=0
        ),
    ] = 0.0
    max_peak_kb: Annotated[
        float,
        Option(
            "Most memory of activations alive at once, in the same KB; 0 is no limit.",
            flag="--max-peak-kb",
            unit="KiB",
            ge=0,
        ),
    ] = 0.0
    max_drop: Annotated[
        float,
        Option(
            "Percentage points of the metric on the validation images that int8 may cost.",
            flag="--max-drop",
            unit="percentage points",
            ge=0,
        ),
    ] = 1.0

    @model_validator(mode="before")
    @classmethod
    def _of_one_device(cls, data: Any) -> Any:
        """Targets on one device are said as for one device alone."""
        texts = target_texts(data.get("targets")) if isinstance(data, dict) else ()
        if not isinstance(texts, tuple) or len(texts) != 1:
            return data
        (target,) = parse_targets(texts)
        _alone(data)
        budget = ",".join(one.text.removesuffix("ms") for one in target.budgets)
        return data | {"targets": (), "device": target.device, "budget": budget} | target.runs_there

    @model_validator(mode="after")
    def _asked(self) -> Self:
        if self.targets:
            _alone(self.model_dump())
        elif not self.budget:
            raise InputError("[target] needs budget", hint=f"example: {_BUDGETS}; or {TARGET_EXAMPLES}")
        return self


def _alone(data: Mapping[str, Any]) -> None:
    """Refuse what targets stand for, beside them.

    Raises:
        InputError: there is some.
    """
    given = {name: data.get(name) for name in ("budget", "device", "runtime", "provider", "precision")}
    if named := [name for name, value in given.items() if value and (name, value) != ("device", "host")]:
        raise InputError(
            f"targets say which devices, runtimes, providers, precisions and budgets, but {' and '.join(named)} "
            f"{'is' if len(named) == 1 else 'are'} given besides",
            hint=f"leave one of the two out; examples: {TARGET_EXAMPLES}",
        )
