//! How the process gets its memory from the C library.

/// What is as large has pages of its own, which are given back when it is freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES_MIN: i32 = 4 << 20;

/// What is free at the end of all memory is given back when it is more.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES_MAX: i32 = 8 << 20;

/// So much more is taken at a time.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GROWTH_BYTES: i32 = 1 << 20;

/// Makes all threads share one arena of glibc's allocator, and has it keep what was freed for a while. To be called before
/// there is a second thread.
///
/// # Why
/// By itself glibc opens up to eight arenas for each core, and what one thread allocated and another freed stays in the
/// arena of the first. The index's pages are read by some threads and freed by others; a member that joined held three
/// times what it used, the more the longer it took. With one arena it holds about what it uses.
///
/// By itself it gives what was freed at the end of its memory back at once when that is 128 KiB, so a node that moves bytes, a
/// mebibyte at a time, has the kernel hand out and zero the same pages again and again: a tenth of what a transfer costs.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "nothing but these calls, or the environment before the start, sets it")]
pub fn set_up_allocator() {
    // SAFETY: `mallopt` takes two integers, touches nothing but the allocator's own settings, and no other thread is there
    // that could be allocating meanwhile. If it refuses (it returns 0), everything is as it was.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES_MAX);
        libc::mallopt(libc::M_TOP_PAD, GROWTH_BYTES);
    }
}

/// Other C libraries have no such arenas.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn set_up_allocator() {}
