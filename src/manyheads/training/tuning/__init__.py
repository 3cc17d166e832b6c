"""Fine-tuning by gradient steps: full, forked or with adapters."""
