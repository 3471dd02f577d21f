"""Sends many events from Python, and says how that went."""

import json
import sys

from hookbus import Hookbus, MessageIn, RetryPolicy

setup = json.loads(sys.stdin.read())
messages = [MessageIn("invoice.paid", {"n": n}, event_id=f"evt_{n}") for n in range(setup["count"])]
with Hookbus(setup["token"], setup["base"], retry=RetryPolicy(total=setup["seconds"], per_try=20)) as client:
    results = client.message.create_many(setup["application_id"], messages)
failed = [str(result.error) for result in results if result.error]
print(json.dumps({"sent": len(results), "failed": failed[0] if failed else None}))
