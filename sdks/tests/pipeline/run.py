"""Both SDKs, as they were installed, against `hookbus dev` on the Kafka of the run: `with-kafka -- sdks/pipeline.sh`.

A scenario (`scenario.py`, `scenario.mjs`) is a process that speaks JSON lines with this one: it gets a set-up, says its subscription's
secret, how many events it sent, and in the end what it called. The receiver here verifies each delivery with the Python package, and
has the Node package verify the same bytes.
"""

import base64
import json
import shutil
import subprocess
import sys
import threading

from stage import PATIENCE, ROOT, Dev, Endpoint, LossyProxy

from hookbus import Hookbus, MessageIn, RetryPolicy, Webhook

USER = ROOT / "var/sdks/user"
COUNT = 10_000


def scenario(name, command, dev, endpoint, node):
    """One SDK: everything it sends arrives and verifies in both languages, and it calls every operation."""
    operations = ROOT / "var/sdks/operations.json"
    page = ROOT / f"sdks/tests/page/{name}.txt"
    path = f"/{name}"
    setup = {"base": dev.base, "admin_key": dev.info["admin_key"], "receiver": endpoint.url + path}
    setup |= {"page": str(page), "operations": str(operations)}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=USER / "node")
    print(json.dumps(setup), file=process.stdin, flush=True)

    def told(what):
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{name}: ended with {process.wait()} before it said {what}")
        return json.loads(line)[what]

    secret = told("secret")
    webhook = Webhook(secret)
    sent = told("sent") + 1  # the ping
    for _ in range(sent):
        _, headers, body = endpoint.taken.get(timeout=PATIENCE)
        event = webhook.verify(body, headers)
        request = {"secret": secret, "headers": headers, "body": base64.b64encode(body).decode()}
        print(json.dumps(request), file=node.stdin, flush=True)
        assert json.loads(node.stdout.readline()) == {"id": event.id, "data": event.data}, event
    print("arrived", file=process.stdin, flush=True)
    done = set(told("done"))
    assert process.wait() == 0
    listed = {operation["id"] for operation in json.loads(operations.read_text())}
    assert done == listed, f"{name}: not called: {sorted(listed - done)}; unknown: {sorted(done - listed)}"
    print(f"    {name}: {len(done)} operations called, {sent} deliveries verified by both")


def killed_while_sending(name, command, dev, endpoint):
    """10,000 events by `create_many`, answers lost, the server killed and started again: each arrives, and none is two deliveries."""
    admin = Hookbus(dev.info["admin_key"], dev.base, retry=RetryPolicy(total=PATIENCE))
    organization = admin.organizations.create({"name": f"Killed for {name}"})["organization_id"]
    application = admin.applications.create({"organization_id": organization, "name": "Killed"})["application_id"]
    admin.event_types.create({"application_id": application, "name": "invoice.paid"})
    target = {"type": "http", "method": "POST", "url": endpoint.url + "/killed", "headers": {}}
    wanted = {"application_id": application, "is_enabled": True, "event_types": ["invoice.paid"], "labels": {}, "target": target}
    admin.subscriptions.create(wanted)
    proxy, killed, again = LossyProxy(dev.address), threading.Event(), threading.Thread(target=dev.start)

    def on_answer():
        if proxy.answered == 4 and not killed.is_set():
            killed.set()
            dev.kill()
            again.start()

    proxy.on_answer = on_answer
    setup = {"base": proxy.url, "token": dev.info["admin_key"], "application_id": application, "count": COUNT, "seconds": PATIENCE}
    sender = subprocess.run(command, input=json.dumps(setup), stdout=subprocess.PIPE, text=True, cwd=USER / "node", check=True)
    assert json.loads(sender.stdout) == {"sent": COUNT, "failed": None}, sender.stdout
    assert killed.is_set() and proxy.lost > 2
    again.join()
    # Topics have one partition here: what comes after all of them comes after whatever became of them twice.
    admin.message.create(application, MessageIn("invoice.paid", {}, event_id="last"))
    bodies, deliveries = {}, {}
    while len(bodies) < COUNT + 1:
        _, headers, body = endpoint.taken.get(timeout=PATIENCE)
        found = {header.lower(): value for header, value in headers}
        bodies.setdefault(found["x-event-id"], set()).add(body)
        deliveries.setdefault(found["x-event-id"], set()).add(found["x-hookbus-delivery-id"])
    assert set(bodies) == {"last", *(f"evt_{n}" for n in range(COUNT))} and all(len(each) == 1 for each in bodies.values())
    twice = [event for event, ids in deliveries.items() if len(ids) > 1]
    assert not twice, f"{len(twice)} events became two deliveries"
    print(f"    {name}: {COUNT} events, {proxy.lost} answers lost, 1 kill, {len(bodies) - 1} delivered, none as two deliveries")


def main():
    endpoint, dev = Endpoint(), Dev()
    verifier = ["node", "test/verify.mjs"]
    here = ROOT / "sdks/tests/pipeline"
    node = subprocess.Popen(verifier, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=USER / "node")
    try:
        scenario("python", [sys.executable, here / "scenario.py"], dev, endpoint, node)
        scenario("node", ["node", "test/scenario.mjs"], dev, endpoint, node)
        killed_while_sending("python", [sys.executable, here / "many.py"], dev, endpoint)
        killed_while_sending("node", ["node", "test/many.mjs"], dev, endpoint)
    finally:
        node.stdin.close()
        dev.process.terminate()
        ended = dev.process.wait()
    assert ended == 0, f"hookbus dev ended with {ended}: {dev.folder / 'dev.log'}"
    # Its log is worth keeping only after a failure.
    shutil.rmtree(dev.folder)


if __name__ == "__main__":
    main()
