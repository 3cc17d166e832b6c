"""Features of many texts: computed in one pass of the backbone, for all taps at once, and kept."""

from manyheads.features.cache import FeatureCache, open_cache
from manyheads.features.source import BranchedSource, FeatureSource, identity_of
from manyheads.features.table import FeatureTable

__all__ = ["BranchedSource", "FeatureCache", "FeatureSource", "FeatureTable", "identity_of", "open_cache"]
