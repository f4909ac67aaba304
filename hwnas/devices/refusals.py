"""Why a runtime does not run a model, for people: its own words, shortened, and the next step that fits them."""

from __future__ import annotations

import re

_LONGEST_TEXT = 300
_SOURCE = re.compile(r"/\S*onnxruntime\S*/core/\S+:\d+ [^()]*\((?:[^()]|\([^()]*\))*\) ?(?:const )?")
"""Where in its source ONNX Runtime gave up: of no use to people."""
_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_HINTS = (
    (
        r"was silent for",
        "it is slow or never ends: where one call may take more than 5 s, give more patience by --stall-s",
    ),
    (
        r"bad_alloc|bad allocation|Failed to allocate|Unable to allocate|MemoryError|[Oo]ut of memory|"
        r"Array buffer allocation|Cannot allocate",
        "it asks for more memory than it may have: --memory-gb gives it more, if the device has it",
    ),
    (
        r"was ended by|ended early|node ended with",
        "it breaks this version of the runtime, or needs more memory than --memory-gb gives it: try another version or "
        "another runtime",
    ),
    (
        r"(?i)unsupported model IR version",
        "install a newer runtime, or write the model with that IR version: model.ir_version = ... before onnx.save",
    ),
    (
        r"(?i)opset \d+ is under development|opset .*not supported|unsupported.*opset|is till opset",
        "install a newer runtime, or convert the model: onnx.version_converter.convert_version(model, OPSET)",
    ),
    (
        r"(?i)external data|External initializer|\.data\b.*(?:exist|open)",
        "put the files that it keeps its weights in beside it, or save it as one: onnx.save(onnx.load(...), ...)",
    ),
    (
        r"(?i)out of (?:data )?bounds|index(?:es|ices)? .*out of|out of range|gather index|outside of the range|"
        r"invalid index",
        "random integers are from 0 to 255: say which the model takes by --range INPUT=0:99, or give arrays by --input",
    ),
    (
        r"(?i)not a registered (?:function/)?op|no op registered|could not find an implementation|unresolved|"
        r"not implemented|unknown op|custom op|not a valid op",
        "an op is not known to this version of the runtime: install a newer one, or export the model with other ops",
    ),
    (
        r"(?i)protobuf|flatbuffer|not a valid|identifier|corrupt|could not open|is not a model|invalid model",
        "it is damaged, cut short, or something else: make it again",
    ),
    (
        r"(?i)rank|dimension|shape|broadcast|axis|mismatch",
        "inputs of these shapes do not go together: say others by --shape, or give arrays by --input",
    ),
)
_OTHERWISE = (
    "it is damaged, its inputs are of another kind or shape than its ops take, or an op is not known to this version "
    "of the runtime"
)


def shortened(text: str) -> str:
    """In one line, without places in the runtime's source; of what is long, the beginning and the end."""
    line = _SOURCE.sub("", _CODE.sub("", " ".join(text.split()))).strip()
    if len(line) <= _LONGEST_TEXT:
        return line
    return f"{line[: _LONGEST_TEXT // 3]} … {line[-2 * _LONGEST_TEXT // 3 :]}"


def hint_for(reason: str) -> str:
    """The next step after such a reason."""
    return next((hint for pattern, hint in _HINTS if re.search(pattern, reason)), _OTHERWISE)
