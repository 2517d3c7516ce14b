"""What the C library does with memory that was freed."""

import ctypes
from functools import cache


@cache
def keep_freed_memory() -> None:
    """Lets glibc keep freed memory for the next use, instead of returning it page by page.

    Pictures and layers are large, and by default each of them comes as new pages, which the system
    must clear and map one by one. That is 100,000 to 300,000 page faults in a training step (5 to
    25 % of its time on a CPU), and half the time of reading a picture for a prediction.

    It holds for the whole process and can't be taken back. The price is at most a few hundred MB.
    Does nothing where the C library isn't glibc.
    """
    m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4  # from glibc's malloc.h
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    libc.mallopt(m_mmap_max, 0)
    libc.mallopt(m_trim_threshold, 2**31 - 1)
    libc.mallopt(m_top_pad, 64 * 2**20)
