//! Reading back, several at once: what has been read stands, whatever cannot be.

use futures_util::future::join_all;

use super::NotNow;

/// Records that are read back at once, where nothing fails. Each may be as large as one may be.
const AT_ONCE: usize = 16;

/// Asks about some in their order, for one part of a job.
///
/// Where one cannot be read, those before it are the part, and the next one begins with it. Where there are none before it, fewer are
/// asked at once, down to one: what is too much for all of them together in the time that each has may be little enough for one.
#[derive(Debug)]
pub(super) struct InOrder {
    at_once: usize,
    has_read: bool,
    /// One could not be read.
    is_cut: bool,
}

// === impl InOrder ===

impl InOrder {
    pub(super) fn new() -> Self {
        Self { at_once: AT_ONCE, has_read: false, is_cut: false }
    }

    /// What is read of the first of `rest`; `None`: the part ends before them.
    ///
    /// # Errors
    /// The first one of the part cannot be read, also by itself.
    pub(super) async fn next<'a, T: Sync, R: Send, A: Future<Output = Result<R, NotNow>> + Send>(
        &mut self,
        rest: &'a [T],
        ask: impl Fn(&'a T) -> A + Send + Sync,
    ) -> Result<Option<Vec<R>>, NotNow> {
        if rest.is_empty() || self.is_cut {
            return Ok(None);
        }
        loop {
            let few = &rest[..rest.len().min(self.at_once)];
            let (mut read, mut failed) = (Vec::with_capacity(few.len()), None);
            for answer in join_all(few.iter().map(&ask)).await {
                match answer {
                    Ok(answer) => read.push(answer),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            self.is_cut = failed.is_some();
            match failed {
                Some(error) if read.is_empty() && few.len() == 1 => {
                    return if self.has_read { Ok(None) } else { Err(error) };
                }
                Some(_late) if read.is_empty() => self.at_once = few.len() / 2,
                Some(_) | None => {
                    self.has_read = true;
                    return Ok(Some(read));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// One part, of what can be read while so many are asked at once.
    async fn part(all: &[usize], most: usize) -> Result<Vec<usize>, NotNow> {
        let (asking, mut taken, mut reading) = (AtomicUsize::new(0), Vec::new(), InOrder::new());
        let ask = async |one: &usize| {
            asking.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            let at_once = asking.load(Ordering::Relaxed);
            tokio::task::yield_now().await;
            asking.fetch_sub(1, Ordering::Relaxed);
            if at_once > most || *one == 99 { Err("too late".to_owned()) } else { Ok(*one * 2) }
        };
        while let Some(read) = reading.next(&all[taken.len()..], &ask).await? {
            taken.extend(read);
        }
        Ok(taken)
    }

    #[tokio::test]
    async fn what_is_too_much_at_once_is_read_by_fewer_at_a_time() {
        let all: Vec<usize> = (0..40).collect();
        for most in [16, 8, 5, 1] {
            assert_eq!(part(&all, most).await.map(|read| read.len()), Ok(40), "{most}");
        }
        assert_eq!(part(&all, 0).await, Err("too late".to_owned()));
        assert_eq!(part(&[], 16).await, Ok(Vec::new()));
    }

    #[tokio::test]
    async fn what_was_read_before_one_that_cannot_be_is_a_part() {
        assert_eq!(part(&[1, 2, 99, 4], 16).await, Ok(vec![2, 4]));
        let late: Vec<usize> = (0..16).chain([99, 4]).collect();
        assert_eq!(part(&late, 16).await.map(|read| read.len()), Ok(16));
        assert_eq!(part(&[99, 4], 16).await, Err("too late".to_owned()), "it is tried again");
    }
}
