// Waiting for jobs: replays, retries, redrives and whatever else takes longer than a request.
import { sleep, type CallOptions, type Sender } from "./core.js";
import { BadAnswer, JobNotDone, TimedOut } from "./errors.js";
import type { Job } from "./types.gen.js";

/** How a job is waited for. */
export interface WaitOptions extends CallOptions {
  /** Is given the job whenever it has changed: its `state`, and its `counts` so far. */
  progress?: (job: Job) => void;
  /** How long to wait, a day by default. The job goes on after that, and may be waited for again. */
  timeoutMs?: number;
}

/** Milliseconds between two looks at a job: at first, and at most. */
const [FIRST, LONGEST] = [250, 5_000];

/** Jobs that can be waited for. */
export class WaitingJobs {
  constructor(protected readonly sender: Sender) {}

  /**
   * Waits until a job is done, and resolves to it. A `JobNotDone` says that it failed or was cancelled, a `TimedOut` that it has not
   * ended in time.
   *
   * @example
   * const job = await client.replays.create({ body: { application_id: "...", filter: { outcome: ["failed"] } } });
   * await client.jobs.wait(job, { progress: ({ state, counts }) => console.log(state, counts) });
   */
  async wait({ job_id }: { job_id: string }, { progress, timeoutMs = 86_400_000, ...options }: WaitOptions = {}): Promise<Job> {
    const call = { operation: "jobs.get", method: "GET", path: ["api", "v1", "jobs", job_id] };
    const begun = performance.now();
    let seen = "";
    for (let between = FIRST; ; between = Math.min(between * 1.5, LONGEST)) {
      const job = await this.sender.send<Job>(call, options);
      if (typeof (job as Partial<Job> | null)?.state !== "string") {
        throw new BadAnswer("the answer is not that of a job: is baseUrl the address of Hookbus?", { operation: "jobs.wait" });
      }
      const shown = JSON.stringify(job);
      if (shown !== seen) progress?.(job);
      seen = shown;
      if (job.state === "done") return job;
      if (job.state === "failed" || job.state === "cancelled") throw new JobNotDone(job, { operation: "jobs.wait" });
      const left = begun + timeoutMs - performance.now();
      if (left <= 0) throw new TimedOut(`job ${job_id} is ${job.state} after ${timeoutMs / 1000} s; it goes on`, { operation: "jobs.wait" });
      await sleep(Math.min(between, left), options.signal);
    }
  }
}
