//! A bounded queue that forgets the oldest: behind a dead origin, the newest segments are the ones worth sending.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// The queue of one origin.
#[derive(Debug)]
pub struct DropOldest<T> {
    items: Mutex<VecDeque<T>>,
    more: Notify,
    most: usize,
}

impl<T> DropOldest<T> {
    /// An empty queue of at most `most` items (at least one).
    pub fn new(most: usize) -> Self {
        Self {
            items: Mutex::default(),
            more: Notify::new(),
            most: most.max(1),
        }
    }

    /// Adds an item; `true` if the oldest had to go.
    pub fn push(&self, item: T) -> bool {
        let mut items = self.lock();
        let full = items.len() >= self.most;
        if full {
            items.pop_front();
        }
        items.push_back(item);
        drop(items);
        self.more.notify_one();
        full
    }

    /// Takes the oldest item, waiting for one. For a single consumer.
    pub async fn pop(&self) -> T {
        loop {
            if let Some(item) = self.lock().pop_front() {
                return item;
            }
            self.more.notified().await;
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn forgets_the_oldest() {
        let queue = DropOldest::new(2);
        assert!(!queue.push(1));
        assert!(!queue.push(2));
        assert!(queue.push(3));
        assert_eq!((queue.pop().await, queue.pop().await), (2, 3));
        assert!(queue.is_empty());
    }
}
