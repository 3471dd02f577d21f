//! One budget for all partitions of a poller.

use super::*;

/// A poll thread and librdkafka's queue around the pure state: what flows comes in any order, in batches of one partition.
struct Pump {
    state: State,
    leases: Vec<Lease>,
    flowing: Vec<bool>,
    next: Vec<i64>,
    /// What the role has, by lease.
    out: Vec<VecDeque<usize>>,
    largest: Vec<usize>,
}

impl Pump {
    fn new(limits: Limits, leases: usize) -> Self {
        let leases: Vec<Lease> = (0..leases).map(|index| lease(i32::try_from(index).unwrap(), 1)).collect();
        let mut state = State::new(limits);
        state.assign(&leases);
        state.next_event();
        let count = leases.len();
        for lease in &leases {
            state.begin(lease, 0, Uuid::nil());
        }
        let (out, largest) = (vec![VecDeque::new(); count], vec![0; count]);
        Self { state, leases, flowing: vec![false; count], next: vec![0; count], out, largest }
    }

    fn reconcile(&mut self, index: usize) {
        if let Some(flow) = self.state.change(&self.leases[index]) {
            self.flowing[index] = flow;
        }
    }

    /// One round of the poll thread: records of the flowing leases that `picks` names.
    fn poll(&mut self, picks: &[(usize, usize)]) {
        for lease in self.state.recovered() {
            self.reconcile(usize::try_from(lease.partition.partition).unwrap());
        }
        let sated = self.state.is_sated();
        let intake = self.state.next_round(sated);
        let (mut records, mut bytes) = (0, 0);
        for (pick, size) in picks {
            let index = pick % self.leases.len();
            if !self.flowing[index] || records >= intake.records || (records > 0 && bytes >= intake.bytes) {
                continue;
            }
            records += 1;
            bytes += size;
            self.largest[index] = self.largest[index].max(*size);
            let lease = self.leases[index].clone();
            accept(&mut self.state, &lease, vec![record(self.next[index], *size)]);
            self.next[index] += 1;
            self.reconcile(index);
        }
    }

    fn read(&mut self) {
        while let Some(PollerEvent::Records { lease, records }) = self.state.next_event() {
            let index = usize::try_from(lease.partition.partition).unwrap();
            self.out[index].extend(records.iter().map(Record::size));
        }
    }

    fn release(&mut self, pick: usize, count: usize) {
        let index = pick % self.leases.len();
        for _ in 0..count {
            let Some(size) = self.out[index].pop_front() else { break };
            self.state.release(&self.leases[index], 1, size);
            self.reconcile(index);
        }
    }

    fn bound(&self, limits: Limits) -> usize {
        limits.budget_bytes + self.largest.iter().sum::<usize>()
    }
}

#[test]
fn many_partitions_share_the_budget_and_each_gets_at_least_one_record() {
    let limits = Limits { live_records: 1_000, live_bytes: 16 * 1024, budget_bytes: 64 * 1024 };
    let mut pump = Pump::new(limits, 100);
    (0..100).for_each(|index| pump.reconcile(index));
    let picks: Vec<(usize, usize)> = (0..50).flat_map(|_| (0..100).map(|index| (index, 1_024))).collect();
    for _ in 0..300 {
        pump.poll(&picks);
        pump.read();
    }
    assert!(pump.out.iter().all(|out| !out.is_empty()), "{:?}", pump.out);
    assert!(pump.state.used <= pump.bound(limits));
    // One that works alone may have its own limit.
    let mut pump = Pump::new(limits, 100);
    (0..100).for_each(|index| pump.reconcile(index));
    pump.poll(&[(7, 1_024); 100]);
    pump.read();
    assert_eq!(pump.out[7].len(), 16);
}

proptest! {
    #[test]
    fn many_leases_never_have_more_than_the_budget_and_one_record_each(
        leases in 1_usize..12,
        live in (1_usize..30, 1_usize..4_000),
        budget in 1_usize..8_000,
        steps in prop::collection::vec((0_u8..4, prop::collection::vec((0_usize..12, 1_usize..900), 1..40)), 1..150),
    ) {
        let limits = Limits { live_records: live.0, live_bytes: live.1, budget_bytes: budget };
        let mut pump = Pump::new(limits, leases);
        (0..leases).for_each(|index| pump.reconcile(index));
        for (kind, picks) in steps {
            match kind {
                0 | 1 => pump.poll(&picks),
                2 => pump.release(picks[0].0, picks[0].1 % 20),
                _ => {
                    let index = picks[0].0 % leases;
                    let lease = pump.leases[index].clone();
                    pump.state.set_paused(&lease, picks[0].1 % 3 == 0);
                    pump.reconcile(index);
                }
            }
            pump.read();
            prop_assert!(pump.state.used <= pump.bound(limits), "{} of {}", pump.state.used, pump.bound(limits));
        }
        // Nobody is starved: once everything is released and resumed, each lease gets a record again.
        for index in 0..leases {
            let lease = pump.leases[index].clone();
            pump.state.set_paused(&lease, false);
            pump.reconcile(index);
        }
        let before = pump.next.clone();
        let all: Vec<(usize, usize)> = (0..leases).map(|index| (index, 100)).collect();
        for _ in 0..leases * 20 {
            pump.read();
            (0..leases).for_each(|index| pump.release(index, usize::MAX));
            pump.read();
            for pick in &all {
                pump.poll(std::slice::from_ref(pick));
            }
        }
        prop_assert!(pump.next.iter().zip(before).all(|(now, then)| *now > then));
        pump.read();
        for index in 0..leases {
            pump.release(index, usize::MAX);
            pump.read();
        }
        let rest: usize = pump.out.iter().flatten().sum();
        prop_assert_eq!(pump.state.used, rest + pump.state.leases.values().map(|lease| lease.buffered_bytes).sum::<usize>());
    }
}
