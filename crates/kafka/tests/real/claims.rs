//! What commits claim about lists, from one owner to the next.

use kafka::{Claimed, Handled, ListsClaim, PositionClaim, Progress, SliceCursor, Window};
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

#[tokio::test(flavor = "multi_thread")]
async fn how_far_a_record_is_written_is_found_by_every_owner_until_one_has_written_it() {
    let world = World::new(1).await;
    world.write(0, names(0..8)).await;
    let cursor = |count| SliceCursor { last: Uuid::from_u128(u128::from(count)), count };
    let position = PositionClaim { handled: Handled::default().with(0, 3), ..PositionClaim::default() };
    // What each finds, where, and the offset and the claim that it commits, if it comes so far.
    let owners = [
        (None, Some(0), Some((3, Claimed::Slices(cursor(2), None)))),
        // Dies after its takeover, which has committed its own id.
        (Some(cursor(2)), Some(3), None),
        (Some(cursor(2)), Some(3), Some((3, Claimed::Slices(cursor(4), Some(position.clone()))))),
        (Some(cursor(4)), Some(3), Some((4, Claimed::Position(position)))),
        (None, Some(4), None),
    ];
    for (index, (found, at, says)) in owners.into_iter().enumerate() {
        let mut worker = world.worker(&format!("owner{index}")).await;
        let restored = worker.assigned().await.remove(0);
        assert_eq!((restored.slices, restored.committed), (found, at), "owner {index}");
        assert_eq!(restored.position.is_some(), index > 2, "owner {index}");
        if let Some((offset, claim)) = says {
            let progress =
                Progress { claim, ..progress(&restored.lease, &Window::restore(offset, offset, Vec::new())) };
            commit(&world, &worker, progress, index % 2 == 0).await;
        }
        worker.close().await;
    }
}
