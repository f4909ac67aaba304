"""Pre-trained parents: networks with the weights of a big set, and what searches and trainings take from them."""

from hwnas.parents.catalogue import PARENTS, find_parent
from hwnas.parents.inherit import inherit, inherited_start
from hwnas.parents.parent import Parent, Preprocessing
from hwnas.parents.parent_weights import ParentWeights, how_to_get, import_weights, is_here, weights_of

__all__ = [
    "PARENTS",
    "Parent",
    "ParentWeights",
    "Preprocessing",
    "find_parent",
    "how_to_get",
    "import_weights",
    "inherit",
    "inherited_start",
    "is_here",
    "weights_of",
]
