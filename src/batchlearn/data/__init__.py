"""What is learned from: tables, their encoding, and encoded rows."""
