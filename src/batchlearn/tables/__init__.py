"""Where raw rows come from: files, frames and arrays, as canonical Arrow batches."""
