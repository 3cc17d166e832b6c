"""Typed questions with closed answers (``POST /v1/systemone``), answered by heads or by the language model."""
