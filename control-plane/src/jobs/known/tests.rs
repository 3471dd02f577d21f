//! What records of jobs tell, in any order.

use schemas::delivery::Origin;
use schemas::jobs::{JobDeadLetters, JobEvent, JobSubject, USUAL_RATE, VERSION};
use schemas::record::Headers;
use uuid::Uuid;

use super::*;

pub(crate) fn definition(number: u128, application: u128) -> JobDefinition {
    JobDefinition {
        v: VERSION,
        kind: JobKind::Redrive,
        job_id: JobId(Uuid::from_u128(number)),
        application_id: ApplicationId(Uuid::from_u128(application)),
        organization_id: None,
        created_ms: i64::try_from(number).unwrap(),
        created_by: "admin".to_owned(),
        rate_per_second: USUAL_RATE,
        subject: JobSubject::DeadLetters(JobDeadLetters::default()),
        cancelled_ms: None,
        paused_ms: None,
    }
}

pub(crate) fn record(offset: i64, key: JobKey, value: Option<Vec<u8>>) -> Record {
    let (key, value) = (Some(key.encode()), value.map(bytes::Bytes::from));
    Record { offset, timestamp_ms: 0, key, value, headers: Headers::default() }
}

pub(crate) fn defined(offset: i64, definition: &JobDefinition) -> Record {
    record(offset, JobKey::Definition(definition.job_id), Some(definition.encode().unwrap()))
}

pub(crate) fn progressed(offset: i64, progress: &JobProgress) -> Record {
    record(offset, JobKey::Progress(progress.job_id), Some(progress.encode().unwrap()))
}

/// What is kept no longer, where each application is its own owner.
fn outdated(known: &KnownJobs, now_ms: i64) -> Vec<JobId> {
    known.outdated(now_ms, usize::MAX, |application| application)
}

fn ids(known: &KnownJobs, asked: &JobsAsked) -> (Vec<u128>, bool) {
    let (rows, is_cut) = known.list(asked);
    (rows.iter().map(|job| job.definition.job_id.0.as_u128()).collect(), is_cut)
}

#[test]
fn an_application_has_its_own_jobs_the_newest_first_in_pages() {
    let mut known = KnownJobs::default();
    for number in 1..=5 {
        known.take(&defined(0, &definition(number, number % 2))).unwrap();
    }
    let asked =
        JobsAsked { application: ApplicationId(Uuid::from_u128(1)), kind: None, state: None, after: None, limit: 2 };
    assert_eq!(ids(&known, &asked), (vec![5, 3], true));
    let after = known.job(JobId(Uuid::from_u128(3))).map(|job| JobPlace::of(&job));
    assert_eq!(after.unwrap().to_string().parse(), Ok(after.unwrap()));
    assert_eq!(ids(&known, &JobsAsked { after, ..asked }), (vec![1], false));
    let mut without = KnownJobs::default();
    for number in [5, 1] {
        without.take(&defined(0, &definition(number, number % 2))).unwrap();
    }
    assert_eq!(ids(&without, &JobsAsked { after, ..asked }), (vec![1], false), "the third was removed meanwhile");
    let retries = JobsAsked { kind: Some(JobKind::Retry), ..asked };
    assert_eq!(ids(&known, &retries), (vec![], false));
    let progress = JobProgress::begun(JobId(Uuid::from_u128(3)), 9);
    known.take(&progressed(1, &progress)).unwrap();
    let running = JobsAsked { state: Some(JobState::Running), ..asked };
    assert_eq!(ids(&known, &running), (vec![3], false));
    assert_eq!(known.open_count(ApplicationId(Uuid::from_u128(1))), 3);
}

#[test]
fn what_is_cancelled_stays_so_and_what_has_ended_is_what_it_ended_as() {
    let mut known = KnownJobs::default();
    let asked = definition(1, 1);
    let cancelled = JobDefinition { cancelled_ms: Some(5), ..asked.clone() };
    known.take(&defined(0, &cancelled)).unwrap();
    known.take(&defined(1, &asked)).unwrap();
    let state = |known: &KnownJobs| known.job(asked.job_id).unwrap().state();
    assert_eq!(state(&known), JobState::Cancelled);
    let progress = JobProgress::begun(asked.job_id, 2);
    known.take(&progressed(2, &progress)).unwrap();
    assert_eq!(state(&known), JobState::Cancelled, "whatever is under way");
    known.take(&progressed(3, &progress.ended(JobState::Done, 3))).unwrap();
    assert_eq!(state(&known), JobState::Done);
    assert_eq!(known.open_count(asked.application_id), 0);
}

#[test]
fn what_is_paused_says_so_until_it_is_resumed_or_ends() {
    let mut known = KnownJobs::default();
    let asked = definition(1, 1);
    let state = |known: &KnownJobs| known.job(asked.job_id).unwrap().state();
    let paused = JobDefinition { paused_ms: Some(5), ..asked.clone() };
    known.take(&defined(0, &asked)).unwrap();
    known.take(&defined(3, &paused)).unwrap();
    known.take(&defined(2, &asked)).unwrap();
    assert_eq!(state(&known), JobState::Paused, "an older record replaces no newer one");
    known.take(&progressed(4, &JobProgress::begun(asked.job_id, 2))).unwrap();
    assert_eq!((state(&known), known.open_count(asked.application_id)), (JobState::Paused, 1));
    known.take(&defined(5, &asked)).unwrap();
    assert_eq!(state(&known), JobState::Running);
    known.take(&defined(6, &JobDefinition { cancelled_ms: Some(7), ..paused })).unwrap();
    assert_eq!((state(&known), known.open_bytes()), (JobState::Cancelled, 0));
    assert_eq!(known.open_bytes_of(|_any| true), 0);
    known.take(&defined(0, &definition(2, 1))).unwrap();
    known.take(&defined(0, &definition(3, 2))).unwrap();
    let of_one = known.open_bytes_of(|application| application == asked.application_id);
    assert_eq!((of_one, known.open_bytes_of(|_any| true)), (definition(2, 1).weight(), known.open_bytes()));
    assert!(known.goes_on(asked.job_id), "its end is yet to be written");
}

#[test]
fn an_older_record_replaces_no_newer_one() {
    let mut known = KnownJobs::default();
    let (begun, id) = (JobProgress::begun(JobId(Uuid::from_u128(1)), 2), JobId(Uuid::from_u128(1)));
    known.take(&progressed(7, &begun.clone().ended(JobState::Done, 3))).unwrap();
    known.take(&progressed(5, &begun)).unwrap();
    assert!(known.job(id).is_none(), "what was asked for is not known");
    known.take(&defined(0, &definition(1, 1))).unwrap();
    assert_eq!(known.job(id).unwrap().state(), JobState::Done);
}

#[test]
fn what_ended_long_ago_is_outdated_and_gone_once_both_records_are() {
    let mut known = KnownJobs::default();
    let asked = definition(1, 1);
    known.take(&defined(0, &asked)).unwrap();
    known.take(&progressed(1, &JobProgress::begun(asked.job_id, 0).ended(JobState::Done, 10))).unwrap();
    assert!(outdated(&known, 10 + BULK_MS).is_empty());
    assert_eq!(outdated(&known, 11 + BULK_MS), [asked.job_id]);
    for key in JobKey::removed(asked.job_id) {
        known.take(&record(2, key, None)).unwrap();
    }
    assert!(known.of.is_empty() && known.by_application.is_empty() && known.open.is_empty());
}

#[test]
fn ended_jobs_of_an_application_weigh_so_much_and_the_oldest_go_first() {
    let mut known = KnownJobs::default();
    let why = Some("w".repeat(MOST_ENDED_BYTES / 4));
    for (offset, number) in (0..).zip(1..=5) {
        let letters = JobDeadLetters { why: why.clone(), ..JobDeadLetters::default() };
        let asked = JobDefinition { subject: JobSubject::DeadLetters(letters), ..definition(number, 1) };
        known.take(&defined(offset, &asked)).unwrap();
        let progress = JobProgress::begun(asked.job_id, 0);
        let progress = if number == 5 { progress } else { progress.ended(JobState::Done, 10) };
        known.take(&progressed(offset + 10, &progress)).unwrap();
    }
    known.take(&defined(20, &definition(1, 2))).unwrap();
    assert_eq!(outdated(&known, 11), [JobId(Uuid::from_u128(1))], "the fifth has not ended");
}

/// Takes ended jobs of an application, so many of about this many bytes.
fn ended(known: &mut KnownJobs, application: u128, (first, count): (u128, u128), bytes: usize) {
    let why = Some("w".repeat(bytes));
    for number in first..first + count {
        let letters = JobDeadLetters { why: why.clone(), ..JobDeadLetters::default() };
        let asked = JobDefinition { subject: JobSubject::DeadLetters(letters), ..definition(number, application) };
        known.take(&defined(0, &asked)).unwrap();
        known.take(&progressed(1, &JobProgress::begun(asked.job_id, 0).ended(JobState::Done, 10))).unwrap();
    }
}

#[test]
fn ended_jobs_of_any_number_of_applications_have_one_bound() {
    let mut known = KnownJobs::default();
    for application in 1..=20 {
        ended(&mut known, application, (application * 1_000, 32), 32 * 1024);
    }
    let outdated = outdated(&known, 11);
    let left = known.of.values().filter_map(|parts| Some(&parts.definition.as_ref()?.1));
    let left: usize = left.filter(|it| !outdated.contains(&it.job_id)).map(|it| it.weight()).sum();
    assert!(!outdated.is_empty() && left <= MOST_ENDED_BYTES, "{} are removed, {left} bytes stay", outdated.len());
}

#[test]
fn whoever_has_most_ended_jobs_loses_the_oldest_of_them_and_the_others_none() {
    let mut known = KnownJobs::default();
    for application in 1..=40 {
        ended(&mut known, application, (application * 1_000, 32), 32 * 1024);
    }
    ended(&mut known, 41, (100_000, 4), 32 * 1024);
    // All but the last are one organization's, however many applications it makes.
    let few = ApplicationId(Uuid::from_u128(41));
    let outdated = known.outdated(11, usize::MAX, |application| application == few);
    let gone: Vec<u128> = outdated.iter().map(|id| id.0.as_u128()).collect();
    assert!(gone.iter().all(|number| *number < 100_000), "{gone:?}");
    let kept = (1..=40).flat_map(|of| of * 1_000..of * 1_000 + 32).filter(|number| !gone.contains(number));
    assert!(kept.min() > gone.iter().copied().max(), "the newest stay");
    assert_eq!(known.outdated(11, 7, |_| ()).len(), 7);
}

#[test]
fn what_one_leaves_of_its_share_is_the_others() {
    assert_eq!(share(vec![5, 5], 10), usize::MAX);
    assert_eq!(share(vec![2, 20, 30], 12), 5);
    assert_eq!(share(vec![2, 4, 30], 12), 6);
    assert_eq!((share(vec![], 12), share(vec![13], 12)), (usize::MAX, 12));
}

#[test]
fn a_job_with_a_name_of_its_own_is_kept_as_long_as_answers_are() {
    let job_id = JobId(Uuid::new_v5(&Uuid::nil(), b"mine"));
    let event = JobEvent {
        event: Uuid::nil(),
        origin: Origin { topic: "events".into(), partition: 0, offset: 0 },
        accepted_ms: 0,
        subscription_id: None,
    };
    let named = JobDefinition { job_id, subject: JobSubject::Event(event), ..definition(1, 1) };
    let unnamed = JobDefinition { job_id: JobId(Uuid::from_u128(1)), ..named.clone() };
    assert_eq!((kept_ms(&named), kept_ms(&unnamed)), (KEPT_MS, SINGLE_MS));
}

#[test]
fn what_the_first_of_two_with_one_name_asked_for_stands() {
    let mut known = KnownJobs::default();
    let letters = |reason: &str| JobDeadLetters { reason: Some(reason.to_owned()), ..JobDeadLetters::default() };
    let of = |reason| JobDefinition { subject: JobSubject::DeadLetters(letters(reason)), ..definition(1, 1) };
    known.take(&defined(0, &of("gone"))).unwrap();
    known.take(&defined(1, &JobDefinition { paused_ms: Some(3), ..of("schedule") })).unwrap();
    let job = known.job(definition(1, 1).job_id).unwrap();
    assert_eq!((&job.definition.subject, job.state()), (&of("gone").subject, JobState::Paused));
}
