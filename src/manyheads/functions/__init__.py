"""The public functions that take a ``HeadedModel``, one per file."""
