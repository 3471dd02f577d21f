"""How much longer `import hookbus` takes than `import httpx`: the least of five each, so that a busy machine does not decide."""

import subprocess
import sys
import time


def least(module):
    def once():
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        return time.perf_counter() - begun

    return min(once() for _ in range(5))


beside = least("hookbus") - least("httpx")
print(f"    {beside * 1000:.0f} ms beside httpx")
