"""The page to try the model in a browser: its files, and how they become one document."""

from manyheads.server.page.page import Page, read_page

__all__ = ["Page", "read_page"]
