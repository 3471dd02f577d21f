"""How much longer `import hookbus` takes than `import httpx`, in CPU time and in turns, so that a busy machine does not decide."""

import resource
import subprocess
import sys


def once(module):
    def used():
        so_far = resource.getrusage(resource.RUSAGE_CHILDREN)
        return so_far.ru_utime + so_far.ru_stime

    before = used()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return used() - before


turns = [(once("hookbus"), once("httpx")) for _ in range(7)]
hookbus, httpx = (min(times) for times in zip(*turns))
print(f"    hookbus {hookbus * 1000:.0f} ms, httpx alone {httpx * 1000:.0f} ms: {(hookbus - httpx) * 1000:.0f} ms more")
