//! Waiting with a deadline. Whatever can notify does; this is for what can only be asked.

use std::future::Future;
use std::time::Duration;

use anyhow::bail;

/// Between two questions: short beside everything waited for, long enough not to load what is asked.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// Asks until there is an answer.
///
/// # Errors
/// No answer by the deadline: the message says what was waited for.
pub async fn eventually<T, F>(what: &str, within: Duration, mut ask: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Option<T>>,
{
    let asking = async {
        let mut turns = tokio::time::interval(ASK_EVERY);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    match tokio::time::timeout(within, asking).await {
        Ok(answer) => Ok(answer),
        Err(_) => bail!("waited {within:?} in vain for: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn asking_ends_with_the_first_answer_or_says_what_was_missed() {
        let mut asked = 0;
        let answer = eventually("three", Duration::from_secs(5), || {
            asked += 1;
            let answer = (asked == 3).then_some(asked);
            async move { answer }
        });
        assert_eq!(answer.await.unwrap(), 3);
        let never = eventually("rain", Duration::from_millis(50), || async { None::<()> }).await;
        assert_eq!(never.unwrap_err().to_string(), "waited 50ms in vain for: rain");
    }
}
