"""Random sequential programs, performed by the running kernel and by the model: every answer must be the same."""
