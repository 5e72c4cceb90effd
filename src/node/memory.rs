//! How the process gets its memory from the C library.

/// Makes all threads share one arena of glibc's allocator. To be called before there is a second thread.
///
/// # Why
/// By itself glibc opens up to eight arenas for each core, and what one thread allocated and another freed stays in the
/// arena of the first. The index's pages are read by some threads and freed by others; a member that joined held three
/// times what it used, the more the longer it took. With one arena it holds about what it uses.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "nothing but this call, or the environment before the start, sets it")]
pub fn share_arenas() {
    // SAFETY: `mallopt` takes two integers, touches nothing but the allocator's own settings, and no other thread is there
    // that could be allocating meanwhile. If it refuses (it returns 0), everything is as it was.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Other C libraries have no such arenas.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn share_arenas() {}
