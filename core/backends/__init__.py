"""The interchangeable backends: each assigns pixels to classes and adds up, nothing else."""
