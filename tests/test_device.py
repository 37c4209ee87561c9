import subprocess
import sys

import pytest

PROBE = """
import resource
import torch
from datum.device import keep_freed_memory

def pages() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_freed_memory()
torch.ones(32 * 2**20)  # 128 MB
before = pages()
torch.ones(16 * 2**20)  # 64 MB
print((pages() - before) * resource.getpagesize())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what is kept is the GNU C library's on Linux")
def test_the_memory_of_a_tensor_that_is_gone_serves_the_next_one() -> None:
    found = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, text=True)
    # All 64 MB where it is handed back and asked for anew; a page here and there is Python's own.
    assert int(found.stdout) < 2**20
