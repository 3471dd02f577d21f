//! The line of jobs: whose part begins, whatever was read, compacted or handed over.

use chassis::clock;
use schemas::delivery::RecordPlace;
use schemas::ids::{DeliveryId, SubscriptionId};
use schemas::jobs::{JobDefinition, JobDelivery, JobKind, JobState, JobSubject};
use uuid::Uuid;

use super::super::known::tests::{defined, definition, progressed, record};
use super::*;

const ROOM: PartRoom = PartRoom { all: 8, long: 8 };

fn is_bulk(job: &KnownJob) -> bool {
    job.definition.is_bulk()
}

fn single(number: u128) -> JobDefinition {
    let delivery = JobDelivery {
        delivery_id: DeliveryId(Uuid::nil()),
        subscription_id: SubscriptionId(Uuid::nil()),
        record: RecordPlace { partition: 0, offset: 0 },
    };
    JobDefinition { kind: JobKind::Retry, subject: JobSubject::Delivery(delivery), ..definition(number, 1) }
}

fn known(records: &[Record]) -> KnownJobs {
    let mut known = KnownJobs::default();
    for record in records {
        known.take(record).unwrap();
    }
    known
}

fn ready(queue: &JobQueue, now: Instant) -> Vec<u128> {
    queue.ready(now, ROOM, is_bulk).into_iter().map(|(_, job)| job.definition.job_id.0.as_u128()).collect()
}

/// Makes the part of the job that is first, up to where it is written.
fn write(queue: &mut JobQueue, now: Instant, progress: &JobProgress) {
    let ready = queue.ready(now, ROOM, is_bulk);
    let (place, _) = ready.iter().find(|(_, job)| job.definition.job_id == progress.job_id).unwrap();
    queue.begin(*place);
    assert!(queue.made(*place, progress, (Duration::ZERO, now)));
}

#[test]
fn a_new_runner_goes_on_with_all_jobs_however_few_of_their_records_it_can_read() {
    // Where the record of the running job stands behind more than a partition may hold, and where what was asked for was written
    // twice and compaction has removed the older record, nothing of it is ever read again.
    let now = clock::instant();
    let running = JobProgress { cursor: Some("7".into()), ..JobProgress::begun(definition(1, 1).job_id, 1) };
    let mut records = vec![defined(0, &definition(1, 1))];
    records.extend((2..=700).map(|number| defined(i64::try_from(number).unwrap(), &definition(number, 1))));
    records.push(progressed(900, &running));
    let mut queue = JobQueue::new(known(&records), 901);
    assert_eq!(ready(&queue, now), [1]);
    for part in 0..3 {
        write(&mut queue, now, &JobProgress { cursor: Some(part.to_string()), ..running.clone() });
        assert!(ready(&queue, now).is_empty(), "its part is yet to be committed");
        queue.committed(running.job_id);
        assert_eq!(ready(&queue, now), [1]);
    }
    write(&mut queue, now, &running.clone().ended(JobState::Done, 9));
    assert!(ready(&queue, now).is_empty(), "its last part is yet to be committed");
    queue.committed(running.job_id);
    assert_eq!((ready(&queue, now), queue.len()), (vec![2], 699));
}

#[test]
fn what_is_read_again_and_what_this_runner_wrote_changes_nothing() {
    let (asked, now) = (definition(1, 1), clock::instant());
    let begun = JobProgress::begun(asked.job_id, 1);
    let mut queue = JobQueue::new(known(&[defined(0, &asked), progressed(3, &begun)]), 4);
    let ahead = JobProgress { cursor: Some("9".into()), ..begun.clone() };
    write(&mut queue, now, &ahead);
    queue.committed(asked.job_id);
    for record in [defined(0, &asked), progressed(3, &begun), progressed(6, &begun)] {
        queue.take(&record).unwrap();
    }
    assert_eq!(queue.known.job(asked.job_id).unwrap().progress, Some(ahead.clone()));
    assert_eq!((ready(&queue, now), queue.len()), (vec![1], 1));
    write(&mut queue, now, &ahead.ended(JobState::Done, 9));
    queue.committed(asked.job_id);
    queue.take(&defined(7, &asked)).unwrap();
    assert_eq!(queue.len(), 0, "what is asked for once more after its end does not begin again");
    queue.take(&record(8, JobKey::Definition(asked.job_id), Some(b"{".to_vec()))).unwrap_err();
    queue.committed(asked.job_id);
    assert_eq!(queue.len(), 0);
}

#[test]
fn long_jobs_of_an_application_take_turns_and_short_ones_go_between() {
    let (mut queue, now) = (JobQueue::new(KnownJobs::default(), 0), clock::instant());
    for (offset, job) in (0..).zip([definition(1, 1), definition(2, 1), definition(3, 2), single(4)]) {
        queue.take(&defined(offset, &job)).unwrap();
    }
    assert_eq!(ready(&queue, now), [1, 3, 4]);
    let (place, job) = queue.ready(now, ROOM, is_bulk).remove(0);
    queue.begin(place);
    assert_eq!(ready(&queue, now), [3, 4]);
    let progress = JobProgress::begun(job.definition.job_id, 5);
    let later = now + Duration::from_secs(1);
    assert!(queue.made(place, &progress, (later - now, now)));
    assert_eq!(ready(&queue, now), [3, 4], "it is yet to be committed");
    queue.committed(job.definition.job_id);
    assert_eq!(ready(&queue, now), [3, 4], "it waits for its rate, and keeps its turn");
    assert_eq!(queue.next_in(now), Some(Duration::from_secs(1)));
    assert_eq!(ready(&queue, later), [3, 4, 1], "behind the others, and before the second");
    assert_eq!(queue.ready(later, PartRoom { all: 2, long: 2 }, is_bulk).len(), 2);
    assert_eq!(queue.ready(later, PartRoom { all: 8, long: 1 }, is_bulk).len(), 2, "one of them, and the short one");
    write(&mut queue, later, &progress.ended(JobState::Done, 9));
    queue.committed(job.definition.job_id);
    assert_eq!(ready(&queue, now), [2, 3, 4]);
}

#[test]
fn an_id_that_is_used_again_after_its_records_were_removed_is_a_new_job() {
    let (asked, now) = (single(4), clock::instant());
    let ended = JobProgress::begun(asked.job_id, 1).ended(JobState::Done, 2);
    let mut queue = JobQueue::new(known(&[defined(0, &asked), progressed(1, &ended)]), 2);
    for (offset, key) in (2..).zip(JobKey::removed(asked.job_id)) {
        queue.take(&record(offset, key, None)).unwrap();
        assert!(ready(&queue, now).is_empty(), "what has ended does not begin again while it is removed");
    }
    assert_eq!(queue.len(), 0, "and nothing of it stays");
    queue.take(&defined(4, &asked)).unwrap();
    assert_eq!(ready(&queue, now), [4]);
}

#[test]
fn what_older_runners_removed_the_other_way_round_leaves_nothing_in_the_line() {
    let (asked, now) = (single(4), clock::instant());
    let ended = JobProgress::begun(asked.job_id, 1).ended(JobState::Done, 2);
    let mut queue = JobQueue::new(known(&[defined(0, &asked), progressed(1, &ended)]), 2);
    queue.take(&record(2, JobKey::Progress(asked.job_id), None)).unwrap();
    assert_eq!(ready(&queue, now), [4], "it would begin anew, if there were time for it");
    queue.take(&record(3, JobKey::Definition(asked.job_id), None)).unwrap();
    assert_eq!((ready(&queue, now), queue.len()), (Vec::new(), 0));
}

#[test]
fn what_is_removed_while_its_part_is_made_leaves_the_line_with_it() {
    let (asked, now) = (single(4), clock::instant());
    let mut queue = JobQueue::new(known(&[defined(0, &asked)]), 1);
    let (place, _) = queue.ready(now, ROOM, is_bulk).remove(0);
    queue.begin(place);
    queue.take(&record(1, JobKey::Definition(asked.job_id), None)).unwrap();
    assert_eq!(queue.len(), 1, "its part is under way");
    assert!(
        !queue.made(place, &JobProgress::begun(asked.job_id, 1), (Duration::ZERO, now)),
        "nothing is written of it"
    );
    assert_eq!(queue.len(), 0);
}

#[test]
fn a_cancelled_job_ends_whatever_it_waits_for() {
    let (mut queue, now) = (JobQueue::new(KnownJobs::default(), 0), clock::instant());
    queue.take(&defined(0, &definition(1, 1))).unwrap();
    queue.take(&defined(1, &definition(2, 1))).unwrap();
    assert_eq!(queue.put_off(0, "kafka does not answer", (now, now + Duration::from_secs(60))), None);
    assert!(ready(&queue, now).is_empty());
    queue.take(&defined(2, &JobDefinition { cancelled_ms: Some(1), ..definition(2, 1) })).unwrap();
    assert_eq!(ready(&queue, now), [2]);
    queue.begin(1);
    let until = now + Duration::from_secs(1);
    assert_eq!(queue.put_off(1, "workers cannot be told", (now, until)), None);
    assert_eq!((ready(&queue, now), queue.next_in(now)), (vec![], Some(Duration::from_secs(1))));
    assert_eq!(ready(&queue, until), [2], "its end is tried again in a while, not in a loop");
}

#[test]
fn a_job_that_cannot_go_on_for_a_while_says_why_once_a_minute_until_it_does() {
    let (mut queue, now) = (JobQueue::new(known(&[defined(0, &definition(1, 1))]), 1), clock::instant());
    let id = definition(1, 1).job_id;
    let put_off = |queue: &mut JobQueue, seconds: u64, why: &str| {
        let at = now + Duration::from_secs(seconds);
        let (place, _) = queue.ready(at, ROOM, is_bulk).remove(0);
        queue.begin(place);
        let told = queue.put_off(place, why, (at, at + Duration::from_secs(1)));
        queue.committed(id);
        told.map(|told| (told.state, told.waiting_for.unwrap()))
    };
    assert_eq!(put_off(&mut queue, 0, "behind"), None);
    assert_eq!(put_off(&mut queue, 9, "behind"), None, "that may pass in a moment");
    assert_eq!(put_off(&mut queue, 10, "behind"), Some((JobState::Waiting, "behind".to_owned())));
    let job = queue.known.job(id).unwrap();
    assert_eq!((job.state(), job.progress.unwrap().waiting_for.as_deref()), (JobState::Waiting, Some("behind")));
    assert_eq!(put_off(&mut queue, 12, "behind"), None);
    assert_eq!(put_off(&mut queue, 13, "away"), None, "another word at most once a minute");
    assert_eq!(put_off(&mut queue, 71, "away"), Some((JobState::Waiting, "away".to_owned())));
    let later = now + Duration::from_secs(80);
    let going_on = queue.known.job(id).unwrap().progress.unwrap().going_on();
    write(&mut queue, later, &going_on);
    queue.committed(id);
    assert_eq!(queue.known.job(id).unwrap().state(), JobState::Running);
    assert_eq!(put_off(&mut queue, 90, "behind"), None, "it went on in between");
}

#[test]
fn nothing_more_is_written_of_what_is_stopped_while_its_part_is_made() {
    let now = clock::instant();
    for stopped in [
        JobDefinition { cancelled_ms: Some(1), ..definition(1, 1) },
        JobDefinition { paused_ms: Some(1), ..definition(1, 1) },
    ] {
        let mut queue = JobQueue::new(known(&[defined(0, &definition(1, 1))]), 1);
        let begun = JobProgress::begun(stopped.job_id, 1);
        for made in [begun.clone(), begun.clone().ended(JobState::Done, 2)] {
            queue.begin(0);
            queue.take(&defined(1, &stopped)).unwrap();
            assert!(!queue.made(0, &made, (Duration::ZERO, now)));
            assert_eq!(ready(&queue, now).len(), usize::from(stopped.cancelled_ms.is_some()));
        }
        queue.begin(0);
        assert!(queue.made(0, &begun.ended(JobState::Cancelled, 2), (Duration::ZERO, now)), "its end is written");
    }
}

#[test]
fn what_kafka_does_not_take_is_counted_as_too_large() {
    let now = clock::instant();
    let mut queue = JobQueue::new(known(&[defined(0, &definition(1, 1))]), 1);
    let mut progress = JobProgress::begun(definition(1, 1).job_id, 1);
    progress.counts.written = 3;
    let goal = SubscriptionId(Uuid::nil());
    let mut written = schemas::jobs::JobWritten::default();
    (0..3).for_each(|_| written.add(goal));
    progress.written_to = Some(written);
    assert_eq!(queue.leave_out(progress.job_id, &vec![None]), None, "nothing of it is written");
    write(&mut queue, now, &progress);
    let less = queue.leave_out(progress.job_id, &vec![Some(goal), None]).unwrap();
    assert_eq!((less.counts.written, less.counts.skipped["too_large"]), (1, 2));
    assert_eq!(less.written().total(), 2, "what is left out never ends");
    queue.committed(progress.job_id);
    assert_eq!(queue.known.job(progress.job_id).unwrap().progress, Some(less));
}

#[test]
fn a_paused_job_waits_for_nobody_and_nobody_for_it() {
    let (mut queue, now) = (JobQueue::new(KnownJobs::default(), 0), clock::instant());
    queue.take(&defined(0, &definition(1, 1))).unwrap();
    queue.take(&defined(1, &definition(2, 1))).unwrap();
    write(&mut queue, now, &JobProgress::begun(definition(1, 1).job_id, 5));
    queue.committed(definition(1, 1).job_id);
    assert_eq!(ready(&queue, now), [1]);
    queue.take(&defined(5, &JobDefinition { paused_ms: Some(1), ..definition(1, 1) })).unwrap();
    assert_eq!(ready(&queue, now), [2]);
    queue.take(&defined(6, &definition(1, 1))).unwrap();
    assert_eq!(ready(&queue, now), [1], "it has begun, so it ends first");
}

/// The next parts of queues, by their numbers and those of the jobs.
fn parts(queues: &[JobQueue], under_way: &BTreeMap<usize, (usize, usize)>, turn: usize) -> Vec<(usize, u128)> {
    let limit = PartRoom { all: 8, long: 4 };
    let found = next_parts(queues.iter().enumerate(), under_way, (turn, limit, clock::instant()), is_bulk);
    found.into_iter().map(|(queue, _, job)| (queue, job.definition.job_id.0.as_u128())).collect()
}

#[test]
fn a_busy_partition_leaves_a_place_to_each_other_one() {
    let filled = |numbers: std::ops::Range<u128>| {
        let mut queue = JobQueue::new(KnownJobs::default(), 0);
        for (offset, number) in (0..).zip(numbers) {
            queue.take(&defined(offset, &single(number))).unwrap();
        }
        queue
    };
    let queues = [filled(1..21), filled(31..33), filled(0..0)];
    let begun = parts(&queues, &BTreeMap::new(), 0);
    assert_eq!(begun.len(), 8, "{begun:?}");
    assert!(begun.contains(&(1, 31)), "{begun:?}");
    // Its steps never end, and another partition gets a job later.
    let full = BTreeMap::from([(0, (8, 0))]);
    assert_eq!(parts(&queues, &full, 0), [(1, 31)], "one place is its own");
    assert_eq!(parts(&queues, &BTreeMap::from([(0, (8, 0)), (1, (1, 0))]), 0), [], "and no more");
    let first = |turn| parts(&queues, &BTreeMap::from([(0, (5, 0)), (1, (1, 0)), (2, (1, 0))]), turn);
    assert_eq!((first(0), first(1)), (vec![(0, 1)], vec![(1, 31)]), "the last place goes to another one each turn");
}

#[test]
fn what_may_take_long_leaves_places_to_what_does_not_in_every_partition() {
    let mut queues = [JobQueue::new(KnownJobs::default(), 0), JobQueue::new(KnownJobs::default(), 0)];
    for (offset, number) in (0..).zip(1..=10) {
        queues[0].take(&defined(offset, &definition(number, number))).unwrap();
    }
    queues[0].take(&defined(20, &single(20))).unwrap();
    queues[1].take(&defined(0, &definition(31, 31))).unwrap();
    let begun = parts(&queues, &BTreeMap::new(), 0);
    let long = begun.iter().filter(|(_, job)| *job != 20).count();
    assert!(begun.contains(&(0, 20)) && long == 4, "{begun:?}");
    assert_eq!(parts(&queues, &BTreeMap::from([(0, (4, 4))]), 0), [(0, 20), (1, 31)], "one of the other's own");
}

/// What is written of a job in a minute of one clock, as its parts of a hundred at a hundred a second are each made in so long.
fn written_in_a_minute(making: impl Fn(u64) -> Duration) -> u64 {
    let (began, each) = (clock::instant(), 100);
    let mut queue = JobQueue::new(known(&[defined(0, &definition(1, 1))]), 1);
    let (mut now, mut part, mut written) = (began, 0, 0);
    while now < began + Duration::from_secs(60) {
        if ready(&queue, now).is_empty() {
            now += queue.next_in(now).unwrap();
            continue;
        }
        let (place, job) = queue.ready(now, ROOM, is_bulk).remove(0);
        queue.begin(place);
        now += making(part);
        let progress = JobProgress { cursor: Some(part.to_string()), ..JobProgress::begun(job.definition.job_id, 1) };
        assert!(queue.made(place, &progress, (Duration::from_secs(1), now)));
        now += Duration::from_millis(20);
        queue.committed(job.definition.job_id);
        (part, written) = (part + 1, written + each);
    }
    written
}

#[test]
fn a_job_goes_at_its_rate_whatever_it_takes_to_make_its_parts() {
    for making in [0, 10, 300, 900].map(Duration::from_millis) {
        let written = written_in_a_minute(|_| making);
        // The first part is written at once, and the last may just not be.
        assert!((5_900..=6_200).contains(&written), "{making:?}: {written}");
    }
    let uneven = written_in_a_minute(|part| Duration::from_millis(if part % 10 == 3 { 1_500 } else { 100 }));
    assert!((5_900..=6_200).contains(&uneven), "one that took longer is caught up with: {uneven}");
}

#[test]
fn what_a_job_lost_to_its_rate_is_caught_up_with_by_one_part_and_no_more() {
    let stood_still = written_in_a_minute(|part| Duration::from_secs(if part == 3 { 30 } else { 0 }));
    assert!((3_000..=3_400).contains(&stood_still), "{stood_still}");
}
