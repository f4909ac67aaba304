"""The reference model that model files are measured beside, with its latency from the device's table."""

from __future__ import annotations

from hwnas.devices.device import Condition
from hwnas.devices.measure_file import ReferenceModel
from hwnas.errors import TableError
from hwnas.latency.find import find_folder, say_if_here
from hwnas.latency.measured_models import write_reference_model
from hwnas.latency.table_files import load_table
from hwnas.progress import Progress


def known_reference(progress: Progress) -> ReferenceModel:
    """The reference model; its latency is known where the device has a table. A table that cannot be read is told."""

    def undisturbed_us(condition: Condition) -> float | None:
        folder = find_folder(condition, None)
        if folder is None:
            return None
        try:
            say_if_here(folder, None, progress)
            return load_table(folder).reference_us or None
        except TableError as error:
            progress.say(f"{error}: what the reference model took before is not known")
            return None

    return ReferenceModel(write_reference_model, undisturbed_us)
