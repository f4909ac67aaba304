"""hwnas: hardware-aware neural architecture search that ends with a model file measured on its device."""

__version__ = "0.1.0"
