//! When jobs are written, and what is said where they are not.

use schemas::problem::Code;
use uuid::Uuid;

use super::*;
use crate::jobs::known::tests::definition;
use crate::jobs::played::PlayedTopic;

fn writer(patience: Duration) -> AskWriter {
    let writer = AskWriter::new(AskSink::Memory(PlayedTopic::default()), JobsView::default());
    AskWriter { patience, ..writer }
}

fn writes(writer: &AskWriter) -> usize {
    match &writer.sink {
        AskSink::Kafka(_) => 0,
        AskSink::Memory(topic) => topic.writes(),
    }
}

#[tokio::test]
async fn a_write_whose_turn_never_comes_was_not_begun_and_says_so() {
    let (writer, actor) = (writer(Duration::ZERO), Actor::system("test"));
    let job = Arc::new(definition(1, 1));
    let turn = writer.turn.lock().await;
    let problem = writer.ask(&job, &actor, "job.redrive").await.unwrap_err();
    assert_eq!((problem.status, problem.code, problem.retry_after_s), (503, Some(Code::Overloaded), Some(1)));
    assert_eq!(writes(&writer), 0);
    drop(turn);
    writer.ask(&job, &actor, "job.redrive").await.unwrap();
    assert_eq!(writes(&writer), 1);
}

#[tokio::test]
async fn a_job_that_stands_so_by_then_is_not_written_again() {
    let (writer, actor) = (writer(PATIENCE), Actor::system("test"));
    let job = Arc::new(definition(1, 1));
    for _twice in 0..2 {
        writer.ask(&job, &actor, "job.redrive").await.unwrap();
    }
    assert_eq!(writes(&writer), 1);
    // Both saw a job that goes on.
    let seen = KnownJob::asked(JobDefinition::clone(&job));
    let pause = |now_ms: i64| {
        move |job: &KnownJob| {
            let definition = JobDefinition::clone(&job.definition);
            Ok(JobDefinition { paused_ms: definition.paused_ms.or(Some(now_ms)), ..definition })
        }
    };
    for now_ms in [5, 6] {
        writer.change(&seen, (&actor, "job.pause"), true, pause(now_ms)).await.unwrap();
    }
    let paused = writer.view.read(|known| known.job(job.job_id)).and_then(|job| job.definition.paused_ms);
    assert_eq!((writes(&writer), paused), (2, Some(5)));
}

#[test]
fn an_unknown_outcome_is_worth_a_repeat_where_that_is_no_second_job() {
    let (of_client, of_server) = (Uuid::new_v5(&Uuid::NAMESPACE_URL, b"mine"), Uuid::now_v7());
    for (id, retry_after_s) in [(of_client, Some(1)), (of_server, None)] {
        let problem = late(is_named(JobId(id)));
        assert_eq!((problem.status, problem.code), (503, Some(Code::OutcomeUnknown)));
        assert_eq!(problem.retry_after_s, retry_after_s, "{}", problem.detail);
    }
}
