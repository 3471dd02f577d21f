//! The records of jobs as they are written and read.

use super::*;

fn definition(subject: JobSubject) -> JobDefinition {
    JobDefinition {
        v: VERSION,
        kind: JobKind::Redrive,
        job_id: JobId(Uuid::from_u128(1)),
        application_id: ApplicationId(Uuid::from_u128(2)),
        organization_id: None,
        created_ms: 1_790_000_000_000,
        created_by: format!("application_secret/{}", Uuid::from_u128(3)),
        rate_per_second: USUAL_RATE,
        subject,
        cancelled_ms: None,
        paused_ms: None,
    }
}

#[test]
fn the_largest_job_fits() {
    let ids = (0..MAX_JOB_IDS).map(|number| Uuid::from_u128(u128::MAX - number as u128)).collect();
    let why = Some("\u{1f4a9}".repeat(MAX_REASON));
    let letters = JobDeadLetters { ids: Some(PackedIds(ids)), why, ..JobDeadLetters::default() };
    let job = definition(JobSubject::DeadLetters(letters));
    let value = job.encode().unwrap();
    assert!(value.len() <= MAX_JOB_BYTES, "{}", value.len());
    assert_eq!(JobDefinition::decode(&value).unwrap(), Some(job));
}

#[test]
fn every_subject_is_read_as_it_was_written() {
    let origin = Origin { topic: "h.events".into(), partition: 1, offset: 2 };
    let subscription = SubscriptionId(Uuid::from_u128(4));
    let record = RecordPlace { partition: 3, offset: 9 };
    let delivery = DeliveryId(Uuid::from_u128(5));
    for subject in [
        JobSubject::Delivery(JobDelivery { delivery_id: delivery, subscription_id: subscription, record }),
        JobSubject::Event(JobEvent { event: Uuid::nil(), origin, accepted_ms: 4, subscription_id: Some(subscription) }),
        JobSubject::DeadLetters(JobDeadLetters { to_ms: Some(8), ..JobDeadLetters::default() }),
        JobSubject::Events(JobReplays::default()),
        JobSubject::Rejections(JobRejections {
            organization_id: Some(OrganizationId(Uuid::from_u128(6))),
            places: Some(vec![record]),
            ..JobRejections::default()
        }),
        JobSubject::Backfill(JobBackfill { subscription_id: subscription, from_ms: Some(4), to_ms: None }),
        JobSubject::Rejections(JobRejections { reason: Some("unmapped".into()), to_ms: Some(8), ..Default::default() }),
        JobSubject::Events(JobReplays {
            outcomes: ReplayOutcome::ALL.into(),
            labels: [("color".to_owned(), "red".to_owned())].into(),
            status: Some((500, 599)),
            to: ReplayTo::Subscription(subscription),
            ..JobReplays::default()
        }),
    ] {
        let job = definition(subject);
        assert_eq!(JobDefinition::decode(&job.encode().unwrap()).unwrap(), Some(job));
    }
    let mut progress = JobProgress::begun(JobId(Uuid::from_u128(1)), 5);
    progress.counts.skip(JobSkip::Expired);
    progress.counts.skip(JobSkip::Expired);
    assert!(!String::from_utf8(progress.encode().unwrap()).unwrap().contains("scanned"));
    progress.counts.scanned = 7;
    assert_eq!(progress.counts.skipped["expired"], 2);
    assert_eq!(JobProgress::decode(&progress.encode().unwrap()).unwrap(), progress);
    let waiting = progress.clone().waiting("kafka does not answer");
    assert_eq!(JobProgress::decode(&waiting.encode().unwrap()).unwrap(), waiting);
    assert_eq!(waiting.clone().going_on(), progress);
    assert!(!waiting.state.has_ended() && waiting.ended(JobState::Done, 7).waiting_for.is_none());
    assert!(progress.ended(JobState::Done, 7).state.has_ended());
}

#[test]
fn a_kind_of_a_newer_build_is_passed_over_and_what_is_no_job_is_said() {
    assert_eq!(JobDefinition::decode(br#"{"v":1,"kind":"levitate","subject":{"topic":"x"}}"#).unwrap(), None);
    for bad in [&b"{"[..], b"{}", br#"{"kind":"replay"}"#] {
        JobDefinition::decode(bad).unwrap_err();
    }
    let newer = br#"{"v":1,"job_id":"00000000-0000-0000-0000-000000000001","state":"frozen","started_ms":1}"#;
    assert_eq!(JobProgress::decode(newer).unwrap().state, JobState::Unknown);
}

#[test]
fn keys_are_read_as_they_are_written() {
    let id = JobId(Uuid::from_u128(1));
    for key in [JobKey::Definition(id), JobKey::Progress(id)] {
        assert_eq!(JobKey::decode(Some(&key.encode())).unwrap(), key);
        assert_eq!(key.job(), id);
    }
    for bad in [None, Some(&b"x"[..]), Some(b"00000000-0000-0000-0000-000000000001/grant")] {
        JobKey::decode(bad).unwrap_err();
    }
}

#[test]
fn jobs_of_an_application_are_in_one_partition() {
    let application = ApplicationId(Uuid::from_u128(2));
    assert_eq!(jobs_partition(application, 8), jobs_partition(application, 8));
    assert!((0..8).contains(&jobs_partition(application, 8)));
}

#[test]
fn a_job_says_whose_it_is() {
    let (application, organization) = (ApplicationId(Uuid::from_u128(3)), OrganizationId(Uuid::from_u128(6)));
    for owner in [JobOwner::Application(application), JobOwner::Organization(organization), JobOwner::Operator] {
        let of = definition(JobSubject::Rejections(JobRejections::default()));
        let (application_id, organization_id) = (owner.filed_under(), owner.organization());
        let job = JobDefinition { application_id, organization_id, ..of };
        assert_eq!(JobDefinition::decode(&job.encode().unwrap()).unwrap().unwrap().owner(), owner);
    }
}
