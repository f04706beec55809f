"""Model name and arrays in, arrays out: queueing, deadlines, and the one place that counts them."""
