"""mmsim: a simulator and checker of Linux memory-management semantics.  `mmsim.api` is what to import."""

__version__ = "0.1.0"
