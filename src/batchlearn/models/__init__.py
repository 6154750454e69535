"""What is learned, saved and served."""
