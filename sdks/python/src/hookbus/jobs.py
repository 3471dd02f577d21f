"""Waiting for jobs: replays, retries, redrives and whatever else takes longer than a request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable, Optional

from . import errors
from ._core import AsyncResource, Call, Flow, Pause, Resource, Settings, send

if TYPE_CHECKING:
    from . import models

__all__ = ["AsyncWaitingJobs", "WaitingJobs"]

#: Seconds between two looks at a job: at first, and at most.
_FIRST, _LONGEST = 0.25, 5.0
#: How a job ends without being done.
_ENDED = ("cancelled", "failed")


def wait(settings: Settings, job_id: str, progress: Optional[Callable[[models.Job], None]], timeout: float) -> Flow[models.Job]:
    """Looks at a job until it has ended, more and more rarely."""
    call: Call[models.Job] = Call("jobs.get", "GET", ("api", "v1", "jobs", job_id))
    until, between = time.monotonic() + timeout, _FIRST
    seen: Optional[models.Job] = None
    while True:
        job = yield from send(settings, call)
        given: Any = job
        if not isinstance(given, dict) or not isinstance(given.get("state"), str):
            raise errors.BadAnswer("the answer is not that of a job: is base_url the address of Hookbus?", operation="jobs.wait")
        if progress is not None and job != seen:
            progress(job)
        seen = job
        if job["state"] == "done":
            return job
        if job["state"] in _ENDED:
            raise errors.JobNotDone(job, operation="jobs.wait")
        left = until - time.monotonic()
        if left <= 0:
            raise errors.TimedOut(f"job {job_id} is {job['state']} after {timeout:g} s; it goes on", operation="jobs.wait")
        yield Pause(min(between, left))
        between = min(between * 1.5, _LONGEST)


class WaitingJobs(Resource):
    """Jobs that can be waited for, blocking."""

    def wait(
        self, job_id: str, *, progress: Optional[Callable[[models.Job], None]] = None, timeout: float = 86400.0
    ) -> models.Job:
        """Waits until a job is done, and returns it.

        Arguments:
            job_id: as in the answer of what has made it.
            progress: is given the job whenever it has changed: its `state`, and its `counts` so far.
            timeout: seconds to wait. The job goes on after them, and may be waited for again.

        Raises:
            JobNotDone: it failed, or was cancelled.
            TimedOut: it has not ended in time.

        Example::

            job = client.replays.create({"application_id": "...", "filter": {"from": "2026-11-22T00:00:00Z"}})
            client.jobs.wait(job["job_id"], progress=lambda job: print(job["state"], job["counts"]))
        """
        result: models.Job = self._run(wait(self._settings, job_id, progress, timeout))
        return result


class AsyncWaitingJobs(AsyncResource):
    """Jobs that can be waited for, awaiting."""

    async def wait(
        self, job_id: str, *, progress: Optional[Callable[[models.Job], None]] = None, timeout: float = 86400.0
    ) -> models.Job:
        """Waits until a job is done, and returns it. Arguments and errors are those of `WaitingJobs.wait`; `progress` is called, not
        awaited."""
        result: models.Job = await self._run(wait(self._settings, job_id, progress, timeout))
        return result
