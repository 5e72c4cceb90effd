//! Where the process gets its memory from.

use tikv_jemallocator::Jemalloc;

/// The allocator of everything that Rust allocates; what C libraries allocate comes from the C library.
///
/// # Why
/// Rows and the index's pages are allocated by some threads and freed by others, in all sizes. glibc's allocator spent a fifth of a
/// small upload's processor time on that, and kept its memory within bounds only with a single arena. This one does with a sixth
/// less per upload, and holds as much. mimalloc and tcmalloc were as fast and held half as much again. The figures are in
/// `tests/bench/README.md`.
///
/// It is built for pages as large as those of the machine that builds it; `JEMALLOC_SYS_WITH_LG_PAGE=16` while building makes it run
/// on kernels with pages of up to 64 KiB.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// How it is set up: where jemalloc looks for a pointer to C's text, before the first allocation. One arena, because each keeps
/// what it has free for itself; and what was freed goes back to the kernel within about a second. (At once would have the
/// kernel hand out and zero the same pages again and again while bytes move.)
#[unsafe(export_name = "_rjem_malloc_conf")]
#[expect(unsafe_code, reason = "a symbol of this name is how jemalloc is set up; nobody else defines it")]
#[used]
static SET_UP: &[u8; 47] = b"narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0\0";
