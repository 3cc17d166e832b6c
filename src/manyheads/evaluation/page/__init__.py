"""A report as one HTML file: pictures, tables and sentences, without scripts and without a network."""

from manyheads.evaluation.page.page import html_page
from manyheads.evaluation.page.write import check_page, write_page

__all__ = ["check_page", "html_page", "write_page"]
