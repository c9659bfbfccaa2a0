"""mmsim: a simulator and checker of Linux memory-management semantics."""

__version__ = "0.1.0"
