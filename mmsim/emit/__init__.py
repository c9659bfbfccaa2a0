"""A C program in kselftest's manner that performs one schedule of a scenario: `mmsim emit-c`."""
