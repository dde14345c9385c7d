"""Images that are too many for the memory or the device: they stay in files, and batches of them are copied."""
