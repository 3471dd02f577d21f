"""Waiting for jobs, and what else a call says once it is over."""

import pickle
import unittest

import httpx

from hookbus import AsyncHookbus, Hookbus, RetryPolicy, errors


def job(state, written=0, **more):
    counts = {"found": 9, "written": written, "skipped": {}}
    return {"job_id": "j", "kind": "replay", "application_id": "a", "state": state, "counts": counts, **more}


class Looking:
    """Answers each look at a job with the next state; the last one stays."""

    def __init__(self, *states):
        self.states, self.looks = list(states), []

    def __call__(self, request):
        self.looks.append(request.url.path)
        return httpx.Response(200, json=self.states.pop(0) if len(self.states) > 1 else self.states[0])

    def client(self, **options):
        return Hookbus("t", "http://h", transport=httpx.MockTransport(self), **options)


class Waiting(unittest.TestCase):
    def test_what_is_no_job_is_a_bad_answer(self):
        for answer in ({}, [], {"state": None}):
            with self.assertRaisesRegex(errors.BadAnswer, "that of a job"):
                Looking(answer).client().jobs.wait("j", timeout=0)

    def test_a_job_is_waited_for_and_its_progress_told_once_a_change(self):
        looking = Looking(job("queued"), job("running", 3), job("running", 3), job("done", 9))
        told = []
        done = looking.client().jobs.wait("j", progress=lambda job: told.append((job["state"], job["counts"]["written"])))
        self.assertEqual(done, job("done", 9))
        self.assertEqual(told, [("queued", 0), ("running", 3), ("done", 9)])
        self.assertEqual(looking.looks, ["/api/v1/jobs/j"] * 4)

    def test_a_job_that_was_not_done_raises(self):
        for state, detail in (("failed", "the log is gone"), ("cancelled", None)):
            with self.subTest(state), self.assertRaisesRegex(errors.JobNotDone, detail or state) as raised:
                Looking(job(state, 4, detail=detail)).client().jobs.wait("j")
            self.assertEqual(raised.exception.job["counts"]["written"], 4)
            again = pickle.loads(pickle.dumps(raised.exception))
            self.assertEqual((str(again), again.job), (str(raised.exception), raised.exception.job))

    def test_a_wait_has_an_end_and_the_job_is_told_to_go_on(self):
        looking = Looking(job("paused"))
        with self.assertRaisesRegex(errors.TimedOut, "paused after 0 s; it goes on"):
            looking.client().jobs.wait("j", timeout=0)
        self.assertEqual(len(looking.looks), 1)

    def test_a_look_that_fails_is_repeated_as_any_call(self):
        answers = [httpx.Response(503), httpx.Response(200, json=job("done"))]
        retry = RetryPolicy(first=0.001, longest=0.001)
        client = Hookbus("t", "http://h", retry=retry, transport=httpx.MockTransport(lambda request: answers.pop(0)))
        self.assertEqual(client.jobs.wait("j")["state"], "done")


class Awaiting(unittest.IsolatedAsyncioTestCase):
    async def test_a_job_is_awaited(self):
        looking = Looking(job("running"), job("done", 9))
        told = []
        async with AsyncHookbus("t", "http://h", transport=httpx.MockTransport(looking)) as client:
            done = await client.jobs.wait("j", progress=lambda job: told.append(job["state"]))
        self.assertEqual((done, told), (job("done", 9), ["running", "done"]))


if __name__ == "__main__":
    unittest.main()
