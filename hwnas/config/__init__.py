"""What a search is asked to do: every option is declared once, and flags, files and the reference follow from that."""

from hwnas.config.budget import Budget, parse_budgets
from hwnas.config.compute import Compute
from hwnas.config.configuration import PARENTS, WITHOUT_SUPERNET, Configuration
from hwnas.config.option import Declared, Option
from hwnas.config.read import configure, load_configuration
from hwnas.config.section import Section
from hwnas.config.sections import Data, Search, Space, Train
from hwnas.config.starts import AUTO
from hwnas.config.target import Target
from hwnas.config.targets import DeviceTarget

__all__ = [
    "AUTO",
    "PARENTS",
    "WITHOUT_SUPERNET",
    "Budget",
    "Compute",
    "Configuration",
    "Data",
    "Declared",
    "DeviceTarget",
    "Option",
    "Search",
    "Section",
    "Space",
    "Target",
    "Train",
    "configure",
    "load_configuration",
    "parse_budgets",
]
