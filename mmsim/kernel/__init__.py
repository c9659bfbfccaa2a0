"""The kernel model.  Files, functions and orders of steps are named after the Linux ones they follow."""
