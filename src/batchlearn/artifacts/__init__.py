"""What is written once and read back as it was: durable folders, strict JSON, tensors and their hashes."""
