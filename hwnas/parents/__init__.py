"""Pre-trained parents: networks with the weights of a big set, and what searches and trainings take from them."""

from hwnas.parents.catalogue import PARENTS, find_parent
from hwnas.parents.inherit import inherit, inherited_start
from hwnas.parents.parent import Parent, Preprocessing
from hwnas.parents.parent_weights import ParentWeights, import_weights, weights_of

__all__ = [
    "PARENTS",
    "Parent",
    "ParentWeights",
    "Preprocessing",
    "find_parent",
    "import_weights",
    "inherit",
    "inherited_start",
    "weights_of",
]
