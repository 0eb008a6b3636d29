//! What this machine has and spends: processor time and memory.

use std::time::Duration;

/// Gives the processor time that the calling thread has used, where the system counts it.
///
/// Unlike a wall clock it does not run while other programs have the processor.
#[must_use]
pub fn thread_cpu_time() -> Option<Duration> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let seconds = u64::try_from(time.tv_sec).ok()?;
        let nanos = u32::try_from(time.tv_nsec).ok()?;
        Some(Duration::new(seconds, nanos))
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    None
}

/// Memory of the whole machine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// All physical memory.
    pub total: u64,
    /// Physical memory that nothing uses, caches not counted as free.
    pub free: u64,
    /// Swap space.
    pub swap: u64,
}

/// Tells how much memory the machine has, where the system says so.
#[must_use]
pub fn memory() -> Option<Memory> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let info = rustix::system::sysinfo();
        let unit = u64::from(info.mem_unit.max(1));
        // The fields are as wide as an address: 32 bits on some targets.
        #[cfg_attr(
            target_pointer_width = "64",
            expect(clippy::useless_conversion, reason = "narrower on 32-bit targets")
        )]
        let bytes = |count| u64::from(count).saturating_mul(unit);
        Some(Memory {
            total: bytes(info.totalram),
            free: bytes(info.freeram),
            swap: bytes(info.totalswap),
        })
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    #[test]
    fn processor_time_runs_with_work_and_stands_still_in_sleep() {
        let start = thread_cpu_time().unwrap();
        std::thread::sleep(Duration::from_millis(60));
        let slept = thread_cpu_time().unwrap() - start;
        assert!(slept < Duration::from_millis(30), "{slept:?}");
        let mut spins = 0_u64;
        while thread_cpu_time().unwrap() - start < Duration::from_millis(35) {
            spins += 1;
        }
        assert!(spins > 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_counts_the_same_memory() {
        let memory = memory().unwrap();
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        let line = text.lines().find(|line| line.starts_with("MemTotal:"));
        let kib: u64 = line
            .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .unwrap();
        assert_eq!(memory.total, kib * 1024);
        assert!(memory.free <= memory.total);
    }
}
