//! What commits claim about lists, from one owner to the next.

use kafka::{Claimed, ListsClaim, Progress, Window};
use uuid::Uuid;

use crate::support::{Worker, World, names, progress, transaction};

const CLAIM: ListsClaim = ListsClaim { queued: 3, sum: u64::MAX - 5, topic_id: Uuid::from_u128(9), from: 41 };

/// Commits a claim, with an output if `with_output` or progress alone.
async fn commit(world: &World, worker: &Worker, progress: Progress, with_output: bool) {
    let values = if with_output { vec!["x".to_owned()] } else { Vec::new() };
    let mut given = transaction(world, &progress.lease, &Window::default(), values);
    given.progress = vec![progress];
    assert!(worker.writer.commit(given).await.unwrap().dropped.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_found_by_every_owner_until_one_says_something_else() {
    let world = World::new(1).await;
    world.write(0, names(0..8)).await;
    let window = Window::restore(2, 5, vec![2, 3]);
    // The claim that each finds, and the one it commits, if it comes so far.
    let owners = [
        (None, Some(Claimed::Lists(CLAIM))),
        // Dies after its takeover, which has committed its own id.
        (Some(CLAIM), None),
        // Dies while it corrects the lists.
        (Some(CLAIM), Some(Claimed::AsFound)),
        (Some(CLAIM), Some(Claimed::Nothing)),
        (None, None),
    ];
    for (index, (found, says)) in owners.into_iter().enumerate() {
        let mut worker = world.worker(&format!("owner{index}")).await;
        let restored = worker.assigned().await.remove(0);
        assert_eq!(restored.lists, found, "owner {index}");
        if index > 0 {
            assert_eq!((restored.committed, &restored.not_done[..]), (Some(2), &[2, 3][..]));
        }
        if let Some(claim) = says {
            let progress = Progress { claim, ..progress(&restored.lease, &window) };
            commit(&world, &worker, progress, index % 2 == 0).await;
        }
        worker.close().await;
    }
}
