"""What models need and hardware has: memory, time per step, and the arithmetic of rented GPUs."""
