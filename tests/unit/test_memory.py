import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from ferfusion.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
    keep_freed_memory()

def use():
    # Pictures, smaller than the largest pages.
    pictures = [np.ones(1_000_000, np.uint8) for _ in range(8)]

use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count_faults(mode: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_memory_that_was_freed_comes_back_without_page_faults() -> None:
    returned, kept = count_faults("return"), count_faults("keep")
    if returned < 1000:
        pytest.skip("this C library, or its large pages, leave nothing to gain")
    assert kept < returned / 10
