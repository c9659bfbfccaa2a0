"""Kernels other than the running one: the executor that performs programs inside an image, and the booting of images."""
