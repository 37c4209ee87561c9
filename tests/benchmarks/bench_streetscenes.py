"""Scenes a second on one core: `python tests/benchmarks/bench_streetscenes.py`.

Takes about 10 s. Expect 100 or more at 128x128; the figure is processor time, so other work on the
machine disturbs it less.
"""

import time

import cv2

from datum.streetscenes.drawing import SOURCE_DOMAIN, TARGET_DOMAIN, draw_scene

COUNT = 200


def main() -> None:
    """Print one line a domain and size."""
    cv2.setNumThreads(1)
    for height, width in ((64, 64), (128, 128), (256, 512)):
        for name, domain in (("source", SOURCE_DOMAIN), ("target", TARGET_DOMAIN)):
            draw_scene(0, domain, height=height, width=width)  # the first scene also makes the textures
            start = time.process_time()
            for seed in range(COUNT):
                draw_scene(seed, domain, height=height, width=width)
            rate = COUNT / (time.process_time() - start)
            print(f"{name} {height}x{width}: {rate:.0f} scenes/s per core")


if __name__ == "__main__":
    main()
