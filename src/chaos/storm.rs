//! Many tasks through one barrier: none begins before all are there.
//!
//! A storm only releases and collects. Who calls and when each call began and returned is recorded
//! by the callers, and whether the outcome was right is decided from that.

use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// Runs `n` tasks that all wait at one barrier and then go; gives their results in order of their
/// numbers. Dropping the future ends the tasks; a panic of one is passed on.
pub async fn storm<T, F>(n: usize, mut make: impl FnMut(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(n));
    let mut tasks = JoinSet::new();
    for number in 0..n {
        let barrier = Arc::clone(&barrier);
        let task = make(number);
        tasks.spawn(async move {
            barrier.wait().await;
            (number, task.await)
        });
    }
    let mut results: Vec<Option<T>> = (0..n).map(|_| None).collect();
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok((number, result)) => results[number] = Some(result),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    results
        .into_iter()
        .map(|result| result.expect("each task gives one result"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn results_come_in_order_of_the_tasks() {
        let done = Arc::new(AtomicUsize::new(0));
        let results = storm(8, |number| {
            let done = Arc::clone(&done);
            async move {
                // The last one finishes first.
                while done.load(Ordering::SeqCst) != 7 - number {
                    tokio::task::yield_now().await;
                }
                done.fetch_add(1, Ordering::SeqCst);
                number * 10
            }
        })
        .await;
        assert_eq!(results, [0, 10, 20, 30, 40, 50, 60, 70]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_goes_before_all_are_made() {
        let made = Arc::new(AtomicUsize::new(0));
        let seen = storm(64, |_| {
            made.fetch_add(1, Ordering::SeqCst);
            let made = Arc::clone(&made);
            async move { made.load(Ordering::SeqCst) }
        })
        .await;
        assert_eq!(seen, [64; 64]);
    }

    #[tokio::test]
    async fn an_empty_storm_is_over() {
        assert_eq!(
            storm(0, |number| async move { number }).await,
            Vec::<usize>::new()
        );
    }

    #[tokio::test]
    #[should_panic(expected = "task 3 broke")]
    async fn a_panic_is_passed_on() {
        storm(5, |number| async move {
            assert!(number != 3, "task {number} broke")
        })
        .await;
    }
}
