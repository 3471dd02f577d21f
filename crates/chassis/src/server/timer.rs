//! A timer that the requests of a connection use one after the other.

use std::pin::Pin;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Sleep;

/// A timer that the requests of a connection use one after the other. Arming a new one takes a lock of the whole runtime,
/// and disarming it another; putting off an armed one takes none.
#[derive(Debug, Default)]
pub struct Timer(Mutex<Option<Pin<Box<Sleep>>>>);

// === impl Timer ===

impl Timer {
    /// The future's output; `None` if it takes longer. It comes pinned, because by value it would stand in this future twice.
    /// Another request of the connection that runs meanwhile, as in HTTP/2, has a timer of its own.
    pub async fn within<F: Future>(&self, limit: Duration, future: Pin<&mut F>) -> Option<F::Output> {
        let until = tokio::time::Instant::now() + limit;
        let spare = self.0.lock().take();
        let mut timer = match spare {
            Some(mut timer) => {
                timer.as_mut().reset(until);
                timer
            }
            None => Box::pin(tokio::time::sleep_until(until)),
        };
        let output = tokio::select! {
            biased;
            output = future => Some(output),
            () = timer.as_mut() => None,
        };
        *self.0.lock() = Some(timer);
        output
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_timer_serves_one_request_after_another_and_several_at_once() {
        let (timer, short, long) = (Timer::default(), Duration::from_millis(1), Duration::from_secs(3_600));
        for _ in 0..3 {
            assert_eq!(timer.within(long, pin!(std::future::ready(7))).await, Some(7));
            assert_eq!(timer.within(short, pin!(std::future::pending::<()>())).await, None, "armed for long before");
        }
        let never = pin!(std::future::pending::<()>());
        let inner = pin!(timer.within(short, never));
        assert_eq!(timer.within(long, inner).await, Some(None), "each has its own time");
    }
}
