"""The core module: backbone, taps, heads and losses in one forward pass."""

from manyheads.core.module import HeadedCore

__all__ = ["HeadedCore"]
