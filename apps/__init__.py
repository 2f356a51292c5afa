"""Product rooms, one per capability. What is shared by all of them is the kernel, `menhir`."""
