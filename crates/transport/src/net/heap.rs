//! What a flood of messages leaves on the heap.
#![allow(unsafe_code, reason = "malloc_trim has no safe interface")]

/// Gives the free pages of the heap back to the system. The allocator keeps them otherwise as long
/// as one small thing that lives on lies behind them. Takes some milliseconds for a hundred
/// megabytes, in which other threads may have to wait for memory: for when a flood has passed.
pub fn give_back_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes no pointer, and the allocator locks what it works on.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    /// Pages of this process in memory.
    fn resident_pages() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn free_pages_between_used_ones_go_back() {
        let small: Vec<_> = (0..200_000_u32).map(|_| Box::new([1_u8; 400])).collect();
        let kept: Vec<_> = small.into_iter().step_by(500).collect();
        let before = resident_pages();
        give_back_heap();
        let after = resident_pages();
        assert!(after + 10_000 < before, "{before} pages, then {after}");
        assert!(kept.iter().all(|block| block[7] == 1));
    }
}
