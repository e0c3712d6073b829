//! Clocks of threads and processes, arrival times of datagrams, and the signal that ends a server.
#![allow(unsafe_code, reason = "none of these calls has a safe form in std")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// CPU time that the calling thread has used, in user and kernel mode.
pub fn thread_cpu() -> Duration {
    read(libc::CLOCK_THREAD_CPUTIME_ID).expect("every thread has a CPU clock")
}

/// Nanoseconds of the wall clock, the one that arrival times are given in.
pub fn wall_ns() -> u64 {
    let now = read(libc::CLOCK_REALTIME).expect("the wall clock can be read");
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// CPU time that all threads of a process have used, those that ended included.
///
/// # Errors
/// `NotFound` when there is no such process.
pub fn process_cpu(pid: u32) -> io::Result<Duration> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::NotFound)?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is valid for a write; the call touches nothing else.
    let status = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if status != 0 {
        return Err(io::Error::from_raw_os_error(status));
    }
    read(clock)
}

/// Asks a process to end (SIGTERM).
///
/// # Errors
/// `NotFound` when there is no such process.
pub fn terminate(pid: u32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::NotFound)?;
    // SAFETY: takes two integers; a positive pid names one process.
    let status = unsafe { libc::kill(pid, libc::SIGTERM) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has the kernel note when each datagram arrived, so that a late reader does not look like jitter.
pub(super) fn stamp_arrivals(socket: &impl AsRawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&on)).map_err(io::Error::other)?;
    // SAFETY: the option takes an int, and `on` lives until the call returns.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn read(clock: libc::clockid_t) -> io::Result<Duration> {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: `time` is valid for a write of one timespec; all zeroes is one.
    let time = unsafe {
        if libc::clock_gettime(clock, time.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        time.assume_init()
    };
    let seconds = u64::try_from(time.tv_sec).map_err(io::Error::other)?;
    let nanoseconds = u32::try_from(time.tv_nsec).map_err(io::Error::other)?;
    Ok(Duration::new(seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn work_is_seen_by_the_clocks_of_the_thread_and_of_its_process() {
        let (thread, process) = (thread_cpu(), process_cpu(std::process::id()).unwrap());
        let mut sum = 0_u64;
        while thread_cpu() - thread < Duration::from_millis(5) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(process_cpu(std::process::id()).unwrap() - process >= Duration::from_millis(5));
    }
}
