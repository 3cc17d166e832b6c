"""The engine: one thread that computes the work of all requests."""

from manyheads.server.engine.engine import Engine
from manyheads.server.engine.generate_work import GenerateWork
from manyheads.server.engine.generations import Generations
from manyheads.server.engine.predict_work import AnsweredText, AnsweredTexts, PredictWork
from manyheads.server.engine.table_work import ColumnsWork, TableModel, TableWork
from manyheads.server.engine.work import Work, tokens_of

__all__ = [
    "AnsweredText",
    "AnsweredTexts",
    "ColumnsWork",
    "Engine",
    "GenerateWork",
    "Generations",
    "PredictWork",
    "TableModel",
    "TableWork",
    "Work",
    "tokens_of",
]
