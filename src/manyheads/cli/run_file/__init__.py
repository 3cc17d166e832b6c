"""Run files: the settings of ``manyheads train`` as TOML."""
