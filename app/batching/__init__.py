"""Between callers and a session: bounded queues, batches, priorities, deadlines."""
