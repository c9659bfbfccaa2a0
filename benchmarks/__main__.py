"""`python -m benchmarks`, which is `make bench`."""

import sys

from benchmarks import bench, costs

sys.exit(bench.main() or ("--inner" not in sys.argv and costs.main()))
