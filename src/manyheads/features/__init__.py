"""Features of many texts: computed in one pass of the backbone, for all taps at once."""

from manyheads.features.extract import extract_features
from manyheads.features.table import FeatureTable

__all__ = ["FeatureTable", "extract_features"]
