//! What a process was handed by whoever started it.

use std::fs;

/// Closes every descriptor but the three standard ones. Whoever started the slave may have left some open, and a script
/// would inherit them.
///
/// To be called before anything is opened: whatever owns a descriptor then finds it closed.
pub fn close_inherited() {
    /// Standard input, output and error.
    const STANDARD: i32 = 3;
    let Ok(listed) = fs::read_dir("/dev/fd") else {
        return;
    };
    let open: Vec<i32> = listed
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    // The list's own descriptor is among them and closed already.
    for descriptor in open.into_iter().filter(|number| *number >= STANDARD) {
        let _ = nix::unistd::close(descriptor);
    }
}
