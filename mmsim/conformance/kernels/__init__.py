"""Kernels other than the running one: the executor that performs programs in a kernel image, and its booting."""
