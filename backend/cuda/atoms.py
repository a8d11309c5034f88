"""Hardware instructions of NVIDIA's GPUs that the lane IR names, as a table."""
