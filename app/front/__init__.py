"""The worker's front: one event loop reads every connection, threads only ever compute."""
