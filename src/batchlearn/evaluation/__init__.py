"""What predictions on held-out rows are worth: metrics with intervals, baselines, calibration and slices."""
