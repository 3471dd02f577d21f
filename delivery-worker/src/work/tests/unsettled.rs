//! What is resolved and not committed: whom it holds, and what waits for it.

use super::*;

/// An application with the second subscription only, of a URL that is refused as it is written: an attempt ends without a network.
fn others() -> Vec<ControlObject> {
    let mut objects = shop();
    objects.pop();
    let subscription = testing::object(2, "http://127.0.0.1/", &testing::vault());
    objects.push(ControlObject::Subscription(Box::new(subscription)));
    objects
}

impl Bench {
    /// Everything that is asked for is there.
    fn answer(&mut self) {
        for (offset, _) in self.asked() {
            let record = Record { offset, ..delivery(&format!("evt_{offset}")) };
            self.fetched(offset, kafka::FetchOutcome::Found(record));
        }
        self.work.read_back.forget(self.lease.epoch);
    }

    /// One more record of the second subscription comes from Kafka.
    fn comes(&mut self, offset: i64) {
        assert!(self.outbox.admit(self.lease.epoch, offset));
        let record = Record { offset, ..testing::record(&format!("evt_{offset}"), 2, i64::MAX) };
        self.work.records(&self.lease, vec![record], self.now).unwrap();
    }

    /// A transaction is committed.
    fn commit(&mut self) -> bool {
        let Some((batch, mut transaction)) = self.outbox.cut(0) else { return false };
        self.work.seal(&batch, &mut transaction.outputs);
        self.work.committed(batch.entries().iter(), self.now);
        true
    }

    /// What came is sent, until so many have ended.
    async fn send_all(&mut self, count: usize) {
        let before = self.unsettled().0;
        while self.unsettled().0 < before + count {
            let mut turn = Turn::new(&mut self.outbox, self.now);
            self.work.turn(&mut turn).unwrap();
            self.work.input().await;
            self.turn();
        }
    }

    pub(super) fn unsettled(&self) -> (usize, usize) {
        self.work.engine.unsettled(self.lease.epoch)
    }
}

#[test]
fn what_is_swept_out_of_lists_is_read_no_faster_than_it_is_committed() {
    let mut bench = with_lists(others(), 3_000);
    for _ in 0..100 {
        bench.answer();
        bench.turn();
    }
    assert!(bench.outbox.len() <= 1_000 + 256, "{} wait for a commit", bench.outbox.len());
    assert!(bench.outbox.len() >= 1_000, "a transaction is full");
    let mut turns = 0;
    while bench.commit() || bench.work.books.queued() > 0 {
        bench.answer();
        bench.turn();
        turns += 1;
        assert!(turns < 1_000, "{} wait in lists", bench.work.books.queued());
    }
    assert_eq!(bench.unsettled(), (0, 0));
}

#[test]
fn what_is_swept_out_of_lists_holds_no_fresh_delivery_of_another_lane() {
    let mut bench = listing(Bench::with(others(), |settings| settings.rules.look_ahead.records = 10), 100);
    for _ in 0..3 {
        bench.answer();
        bench.turn();
    }
    assert!(bench.unsettled().1 >= 10, "{:?}", bench.unsettled());
    bench.comes(50_000);
    bench.turn();
    let now_ms = bench.work.engine_ms(bench.now);
    let dispatch = bench.work.engine.dispatch(now_ms).expect("it goes at once");
    assert_eq!(dispatch.subscription.id(), testing::subscription_id(2));
}

/// Whatever becomes of a batch and of a lease: what is counted when it is resolved is taken off once.
#[tokio::test]
async fn outcomes_are_counted_until_they_are_committed_or_their_lease_is_over() {
    let mut bench = listing(Bench::new(others()), 100);
    (0..3).for_each(|number| bench.comes(50_000 + number));
    bench.send_all(3).await;
    while bench.unsettled().1 < 100 {
        bench.answer();
        bench.turn();
    }
    assert_eq!(bench.unsettled(), (3, 100));
    // A batch that comes back, with something shorter in it.
    let (batch, mut transaction) = bench.outbox.cut(0).unwrap();
    bench.work.seal(&batch, &mut transaction.outputs);
    let refused = [(0, "too large".to_owned())];
    bench.outbox.put_back_refused(batch, transaction, &refused, &mut bench.work, bench.now).unwrap();
    assert_eq!(bench.unsettled(), (3, 100));
    while bench.commit() {}
    assert_eq!(bench.unsettled(), (0, 0));

    // What ends while its partition is handed over is committed; behind the end of its lease nothing is counted.
    bench.comes(60_000);
    let mut turn = Turn::new(&mut bench.outbox, bench.now);
    bench.work.turn(&mut turn).unwrap();
    bench.work.revoking(std::slice::from_ref(&bench.lease));
    bench.work.input().await;
    bench.turn();
    assert_eq!(bench.unsettled(), (1, 0));
    while bench.commit() {}
    assert_eq!(bench.unsettled(), (0, 0));

    let mut bench = Bench::new(others());
    let found =
        FoundBook::of(crate::book::Book::new(Arc::clone(&bench.topics.lanes), 0), std::collections::BTreeSet::new());
    bench.work.opened(&bench.lease.clone(), found, bench.now);
    bench.comes(1);
    bench.send_all(1).await;
    bench.comes(2);
    let mut turn = Turn::new(&mut bench.outbox, bench.now);
    bench.work.turn(&mut turn).unwrap();
    bench.work.closed(&bench.lease.clone());
    bench.work.input().await;
    bench.turn();
    assert_eq!(bench.unsettled(), (0, 0));
}
