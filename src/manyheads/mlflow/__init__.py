"""Models, trainings and reports in MLflow.

Needs the extra ``mlflow``. As everywhere in MLflow, records go to the active run, or to a new one.

Examples:
    >>> sorted(mh.mlflow.__all__)
    ['log_model', 'log_report', 'log_result']
"""

from manyheads.mlflow.log_model import log_model
from manyheads.mlflow.log_numbers import log_report, log_result

__all__ = ["log_model", "log_report", "log_result"]
