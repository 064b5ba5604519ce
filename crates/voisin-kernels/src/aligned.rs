//! Memory for large arrays: cache-line aligned panels and huge pages.

/// One cache line of f32.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// f32 values that begin on a cache line.
pub(crate) struct Aligned {
    lines: Vec<Line>,
}

impl Aligned {
    /// `len` zeros, rounded up to whole cache lines.
    pub(crate) fn zeros(len: usize) -> Self {
        Aligned { lines: vec![Line([0.0; 16]); len.div_ceil(16)] }
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: Line is 16 f32 without padding (repr(C), 64 bytes), so n lines are 16 n values.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * 16) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as in `as_slice`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * 16) }
    }
}

/// Asks the system to back a large slice with huge pages, where it has not been touched yet.
///
/// A hint only: content and behaviour stay the same. Page faults otherwise dominate reads of hundreds of megabytes.
pub fn advise_huge<T>(data: &mut [T]) {
    const PAGE: usize = 4096;
    let bytes = std::mem::size_of_val(data);
    if bytes < 4 << 20 {
        return;
    }
    let start = (data.as_mut_ptr() as usize).next_multiple_of(PAGE);
    let end = (data.as_mut_ptr() as usize + bytes) & !(PAGE - 1);
    #[cfg(target_os = "linux")]
    // SAFETY: the range lies within the slice, is page aligned, and MADV_HUGEPAGE does not change its content.
    unsafe {
        libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, end);
}

/// Keeps up to `bytes` of freed memory instead of giving it back to the system at once: what the next call needs is then there
/// without page faults. For processes that search again and again; nothing where the C library is not glibc.
pub fn keep_freed_memory(bytes: usize) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: a setting of the allocator, allowed at any time.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, bytes.min(i32::MAX as usize) as i32);
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = bytes;
}
