"""Linux itself as a driver: the threads of a scenario as real threads and processes, the slow device a FUSE file.

`run` is what other layers call; `probe` says what this kernel and these privileges allow.
"""
