"""`python -m benchmarks`, which is `make bench`."""

import sys

from benchmarks import bench, costs

sys.exit(bench.main() or costs.main())
