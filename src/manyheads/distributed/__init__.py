"""Score tables on more than one machine: with Ray, or in a Spark job.

A model is given as the path of a folder that every machine sees, or as a hub id: each worker loads it once.

Examples:
    >>> sorted(mh.distributed.__all__)
    ['score_ray', 'score_spark']
"""

from manyheads.distributed.ray import score_ray
from manyheads.distributed.spark import score_spark

__all__ = ["score_ray", "score_spark"]
