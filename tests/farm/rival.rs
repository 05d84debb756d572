//! How another build farm fails, shown not to happen here. A slave that freezes is in [`watching`](super::watching).
